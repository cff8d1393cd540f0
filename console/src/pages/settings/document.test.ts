import { expect, it } from 'vitest';
import { settings } from '../../strings/settings';
import { documentProblem, pretty } from './document';

it('a document is JSON, and it is said what keeps it from being that', () => {
  expect(documentProblem('{"Statement": []}')).toBeUndefined();
  expect(documentProblem('{"Statement": [}')).toMatch(/JSON/);
  expect([settings.documents.example, settings.documents.roleExample].map(documentProblem)).toEqual([undefined, undefined]);
});

it('is shown with line breaks, and one that has them as it is', () => {
  expect(pretty('{"a":1}')).toBe('{\n  "a": 1\n}');
  expect(pretty('{\n"a":1}')).toBe('{\n"a":1}');
  expect(pretty('nonsense')).toBe('nonsense');
});
