// A comparison at work. Of one key, the service says what has changed. Of two keys, digests do not compare: then it is known
// where data is, and if somebody asks for it the contents are read and compared here.

import { useCallback, useEffect, useRef, useState } from 'react';
import { type ApiError, asApiError } from '../../api/errors';
import type { ImageDescription } from '../../api/generated/shapes';
import { compareBytes, compareExtents, DiskMap, type Kind, type Segment, settle, totals } from './diff';
import { chunks, eachOf, readPersistently, volumeChanges, volumeExtents } from './transfer';

/** Contents are compared by blocks of this size: the store's own. */
const BLOCK = 65_536;
const CELLS = 2048;
const SHOWN_EVERY = 250;

export type Comparison = {
  map: DiskMap | undefined;
  /** Grows with every change of the map. */
  version: number;
  totals: Record<Kind, number>;
  identical: boolean;
  working: boolean;
  done: number;
  all: number;
  error: ApiError | undefined;
};

const NOTHING: Comparison = { map: undefined, version: 0, totals: totals([]), identical: false, working: false, done: 0, all: 0, error: undefined };

export function useComparison(older: ImageDescription, newer: ImageDescription, device: string) {
  const [state, setState] = useState(NOTHING);
  const segments = useRef<Segment[]>([]);
  const abort = useRef<AbortController | undefined>(undefined);
  const was = older.volumes.find((volume) => volume.device === device);
  const is = newer.volumes.find((volume) => volume.device === device);

  const run = useCallback(async (work: (signal: AbortSignal) => Promise<void>) => {
    const mine = new AbortController();
    abort.current?.abort();
    abort.current = mine;
    try {
      await work(mine.signal);
    } catch (thrown) {
      if (!mine.signal.aborted) setState((before) => ({ ...before, working: false, error: asApiError(thrown) }));
    }
  }, []);

  useEffect(() => {
    if (!was || !is) return undefined;
    void run(async (signal) => {
      const [a, b, changes] = await Promise.all([
        volumeExtents(older.imageId, was.volume, signal),
        volumeExtents(newer.imageId, is.volume, signal),
        older.keyId === newer.keyId ? volumeChanges(older.imageId, newer.imageId, is.volume, signal) : undefined,
      ]);
      const size = Math.max(a.size, b.size);
      const identical = was.rootDigest === is.rootDigest;
      const found = compareExtents(a.extents, b.extents, size);
      segments.current = changes ? settle(found, changes.extents) : found;
      const map = new DiskMap(size, CELLS, BLOCK);
      map.reset(segments.current);
      setState({ ...NOTHING, map, totals: totals(segments.current), identical });
    });
    return () => abort.current?.abort();
  }, [older.imageId, newer.imageId, device, run]);

  const start = useCallback(() => {
    const map = state.map;
    if (!was || !is || !map) return;
    void run(async (signal) => {
      const known = segments.current.filter((segment) => segment.kind !== 'unknown');
      const unknown = chunks(segments.current.filter((segment) => segment.kind === 'unknown').map(({ offset, length }) => ({ offset, length, at: 0 })));
      const all = unknown.reduce((sum, chunk) => sum + chunk.length, 0);
      const compared: Segment[] = [];
      const missing = new Set(unknown);
      let done = 0;
      let shown = 0;
      const show = (working: boolean) => {
        const rest = [...missing].map(({ offset, length }): Segment => ({ offset, length, kind: 'unknown' }));
        segments.current = [...known, ...compared, ...rest];
        map.reset(segments.current);
        setState((before) => ({ ...before, version: before.version + 1, totals: totals(segments.current), working, done, all, error: undefined }));
      };
      show(true);
      try {
        await eachOf(unknown, async (chunk) => {
          signal.throwIfAborted();
          const { offset, length } = chunk;
          const [a, b] = await Promise.all([
            readPersistently({ imageId: older.imageId, volume: was.volume, offset, length }, signal),
            readPersistently({ imageId: newer.imageId, volume: is.volume, offset, length }, signal),
          ]);
          compared.push(...compareBytes(offset, a, b, BLOCK));
          missing.delete(chunk);
          done += length;
          if (Date.now() - shown < SHOWN_EVERY) return;
          shown = Date.now();
          show(true);
        });
      } finally {
        show(false);
      }
    });
  }, [state.map, older.imageId, newer.imageId, was, is, run]);

  const stop = useCallback(() => abort.current?.abort(), []);
  return { state, start, stop };
}
