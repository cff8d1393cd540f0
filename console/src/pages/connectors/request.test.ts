import { describe, expect, it } from 'vitest';
import type { ConnectorDescription, TestConnectorResponse } from '../../api/generated/shapes';
import { associateRequest, connectorProblems, editForm, editRequest, socketProblem, verdict } from './request';

const connector: ConnectorDescription = {
  connectorId: 'c-1', name: 'rack', type: 'QMP', socket: '/run/qemu', status: 'HEALTHY', managerId: 'qmp-1', managerName: '/run/qemu',
  managerVersion: 'QEMU 10.0.2', associatedOn: 0, lastContactOn: 0, bandwidthCap: '20MB/s',
};

it('a connector has a name and an absolute path', () => {
  expect(connectorProblems({ name: '', socket: '' })).toEqual({ name: 'Fill this in.', socket: 'Fill this in.' });
  expect(connectorProblems({ name: 'rack', socket: 'run/qemu' })).toEqual({ socket: 'Give an absolute path: it begins with /.' });
  expect(connectorProblems({ name: 'rack', socket: ' /run/qemu ' })).toEqual({});
  expect(socketProblem(' /run/qemu ')).toBeUndefined();
});

it('is sent without blanks around', () => {
  expect(associateRequest({ name: ' rack ', socket: ' /run/qemu ' })).toEqual({ name: 'rack', type: 'QMP', socket: '/run/qemu' });
});

it('of an edited one only what was changed is sent', () => {
  const form = editForm(connector);
  expect(form).toEqual({ name: 'rack', socket: '/run/qemu', cap: '20MB/s' });
  expect(editRequest(connector, { ...form, name: ' rack ' })).toBeUndefined();
  expect(editRequest(connector, { ...form, name: 'first rack' })).toEqual({ connectorId: 'c-1', name: 'first rack' });
  expect(editRequest(connector, { ...form, cap: '' })).toEqual({ connectorId: 'c-1', bandwidthCap: 'none' });
  expect(editRequest(connector, { name: 'a', socket: '/b', cap: '0' })).toEqual({ connectorId: 'c-1', name: 'a', socket: '/b', bandwidthCap: '0' });
  const uncapped = { ...connector, bandwidthCap: undefined };
  expect(editRequest(uncapped, { ...editForm(uncapped), cap: ' none ' })).toBeUndefined();
});

describe('a test of a connection', () => {
  const found: TestConnectorResponse = {
    managerId: 'qmp-1', managerName: '/run/qemu', managerVersion: 'QEMU 10.0.2', servers: 12, serverNames: ['web01', 'web02'], warnings: [],
  };
  it('names what answers and the first of its servers', () => {
    expect(verdict(found)).toEqual({ type: 'success', header: '/run/qemu answers: QEMU 10.0.2', lines: ['12 servers: web01, web02 and 10 more.'] });
    const empty = { ...found, managerVersion: '', servers: 0, serverNames: [] };
    expect(verdict(empty)).toEqual({ type: 'success', header: '/run/qemu answers', lines: ['No servers were found.'] });
  });
  it('lists some of what cannot be used', () => {
    const warnings = Array.from({ length: 7 }, (_, n) => `socket ${n} does not answer`);
    expect(verdict({ ...found, warnings }).lines.slice(1)).toEqual([...warnings.slice(0, 5), 'And 2 more that cannot be used.']);
  });
  it('says that it is associated already, but not to the connector that it is', () => {
    const known = { ...found, connectorId: 'c-1', connectorName: 'rack' };
    expect(verdict(known)).toMatchObject({ type: 'warning', header: 'It answers, and is associated already, as rack' });
    expect(verdict(known, connector).type).toBe('success');
  });
  it('warns whoever would move a connector to another VM manager', () => {
    const other = { ...found, managerId: 'qmp-2', managerName: '/run/other' };
    const told = verdict(other, connector);
    expect(told).toMatchObject({ type: 'warning', header: 'Another VM manager answers there: /run/other' });
    expect(told.lines[0]).toBe('This connector stays with /run/qemu. Associate the other one as a connector of its own.');
    expect(verdict({ ...other, connectorId: 'c-2', connectorName: 'there' }, connector).lines[0]).toContain('associated already, as there');
  });
});
