import { expect, it } from 'vitest';
import type { CatalogImport } from '../../api/generated/shapes';
import { hasEnded, importMessage, importProgress, importWarning } from './import';

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

it('an import has ended once, also if no look saw it at work', () => {
  const idle = { status: 'AVAILABLE' as const, lastImport: all };
  const atWork = { status: 'IMPORTING' as const, lastImport: { ...all, beganOn: 5, endedOn: undefined } };
  const done = { status: 'AVAILABLE' as const, lastImport: { ...all, beganOn: 5, endedOn: 6 } };
  expect([hasEnded(idle, atWork), hasEnded(atWork, done), hasEnded(done, done)]).toEqual([false, true, false]);
  expect(hasEnded(idle, done)).toBe(true);
  // The first look at a page: what ended before it is no news.
  expect(hasEnded(undefined, done)).toBe(false);
  // Cleared meanwhile: nothing was imported.
  expect(hasEnded(idle, { status: 'DELETED', lastImport: all })).toBe(false);
  expect(hasEnded({ status: 'NOT_IMPORTED', lastImport: undefined }, done)).toBe(true);
});

it('an import that nobody answered is no success', () => {
  expect(importMessage(some, 12)).toEqual({ type: 'success', content: 'The catalog is imported: 12 servers.' });
  expect(importMessage(undefined, 1).type).toBe('success');
  expect(importMessage({ ...all, answered: 0, failed: 3 }, 12)).toEqual({ type: 'error', content: 'No connector answered: the catalog is as it was before.' });
});
