import { expect, it } from 'vitest';
import { associateRequest, connectorProblems } from './request';

it('a connector has a name and an absolute path', () => {
  expect(connectorProblems({ name: '', socket: '' })).toEqual({ name: 'Fill this in.', socket: 'Fill this in.' });
  expect(connectorProblems({ name: 'rack', socket: 'run/qemu' })).toEqual({ socket: 'Give an absolute path: it begins with /.' });
  expect(connectorProblems({ name: 'rack', socket: ' /run/qemu ' })).toEqual({});
});

it('is sent without blanks around', () => {
  expect(associateRequest({ name: ' rack ', socket: ' /run/qemu ' })).toEqual({ name: 'rack', type: 'QMP', socket: '/run/qemu' });
});
