import { expect, it } from 'vitest';
import type { CatalogImport } from '../../api/generated/shapes';
import { importMessage, importProgress, importWarning } from './import';

const failure = { connectorId: 'c-2', connectorName: 'rack2', reason: 'SourceUnreachable: nobody answers' };
const all: CatalogImport = { beganOn: 1, endedOn: 2, connectors: 3, answered: 3, failed: 0, failures: [], servers: 12 };
const some: CatalogImport = { ...all, answered: 2, failed: 1, failures: [failure] };

it('an import is as far as connectors were heard of', () => {
  expect(importProgress({ ...all, endedOn: undefined, answered: 1, failed: 1, servers: 4 })).toEqual({ percent: 200 / 3, text: '2 of 3 connectors heard of, 4 servers so far' });
  expect(importProgress(all).percent).toBe(100);
  // Asked for, and not begun; or everything was disassociated meanwhile.
  expect(importProgress(undefined)).toEqual({ percent: 0, text: undefined });
  expect(importProgress({ ...all, connectors: 0, answered: 0 })).toEqual({ percent: 0, text: undefined });
});

it('who gave no servers is said when it is over', () => {
  expect(importWarning('IMPORTING', some)).toBeUndefined();
  expect(importWarning('AVAILABLE', undefined)).toBeUndefined();
  expect(importWarning('AVAILABLE', all)).toBeUndefined();
  expect(importWarning('AVAILABLE', some)).toEqual({ header: '1 of 3 connectors gave no servers to the last import', failures: [failure], more: 0 });
  const nobody = { ...all, answered: 0, failed: 3, failures: [failure] };
  expect(importWarning('NOT_IMPORTED', nobody)).toEqual({ header: 'No connector answered: the catalog is as it was before', failures: [failure], more: 2 });
});

it('an import that nobody answered is no success', () => {
  expect(importMessage(some, 12)).toEqual({ type: 'success', content: 'The catalog is imported: 12 servers.' });
  expect(importMessage(undefined, 1).type).toBe('success');
  expect(importMessage({ ...all, answered: 0, failed: 3 }, 12)).toEqual({ type: 'error', content: 'No connector answered: the catalog is as it was before.' });
});
