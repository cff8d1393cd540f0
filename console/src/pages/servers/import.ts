// What is said of an import of the catalog. Pure.

import type { CatalogImport, CatalogImportFailure, ServerCatalogStatus } from '../../api/generated/shapes';
import { servers as t } from '../../strings/servers';
import type { Catalog } from './query';

/** How far an import is, in percent of the connectors that were heard of. Before it has begun nothing is known. */
export function importProgress(lastImport: CatalogImport | undefined): { percent: number; text: string | undefined } {
  if (!lastImport || lastImport.connectors === 0) return { percent: 0, text: undefined };
  const { connectors, answered, failed, servers } = lastImport;
  return { percent: (100 * (answered + failed)) / connectors, text: t.heardOf(answered + failed, connectors, servers) };
}

export type ImportWarning = { header: string; failures: readonly CatalogImportFailure[]; more: number };

/** Which connectors gave no servers to the last import; nothing if all did, or while one is at work. */
export function importWarning(status: ServerCatalogStatus, lastImport: CatalogImport | undefined): ImportWarning | undefined {
  if (status === 'IMPORTING' || !lastImport || lastImport.failed === 0) return undefined;
  const { connectors, answered, failed, failures } = lastImport;
  return { header: answered === 0 ? t.nobodyAnswered : t.someFailed(failed, connectors), failures, more: failed - failures.length };
}

type Known = Pick<Catalog, 'status' | 'lastImport'>;

/** Whether an import has ended between two looks at the catalog, be it one that no look saw at work. */
export function hasEnded(before: Known | undefined, now: Known): boolean {
  if (!before || now.status === 'IMPORTING') return false;
  if (before.status === 'IMPORTING') return true;
  return now.lastImport?.endedOn !== undefined && now.lastImport.beganOn !== before.lastImport?.beganOn;
}

/** What is told at the end of an import. Who gave no servers is said on the page itself. */
export function importMessage(lastImport: CatalogImport | undefined, count: number): { type: 'success' | 'error'; content: string } {
  if (lastImport && lastImport.answered === 0) return { type: 'error', content: `${t.nobodyAnswered}.` };
  return { type: 'success', content: t.imported(count) };
}
