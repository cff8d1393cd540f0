import { describe, expect, it } from 'vitest';
import { compareBytes, compareExtents, DiskMap, settle, totals } from './diff';
import { CLUSTER, clusterRanges, qcow2Layout } from './qcow2';
import { CHUNK, chunks } from './transfer';

const MiB = 1 << 20;

describe('what differs', () => {
  it('is told by where data is, over the whole disk', () => {
    const older = [{ offset: 0, length: 10 }, { offset: 20, length: 10 }];
    const newer = [{ offset: 5, length: 10 }, { offset: 20, length: 5 }, { offset: 40, length: 60 }];
    expect(compareExtents(older, newer, 100).map(({ offset, length, kind }) => `${kind} ${offset}+${length}`)).toEqual([
      'removed 0+5', 'unknown 5+5', 'added 10+5', 'empty 15+5', 'unknown 20+5', 'removed 25+5', 'empty 30+10', 'added 40+60',
    ]);
  });
  it('accounts for every byte of a disk, however extents lie', () => {
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
    for (let round = 0; round < 200; round++) {
      const size = 1 + random(500);
      const draw = () => {
        const extents = [];
        for (let at = random(50); at < size; at += 1 + random(60)) {
          const length = Math.min(1 + random(40), size - at);
          extents.push({ offset: at, length });
          at += length;
        }
        return extents;
      };
      const [older, newer] = [draw(), draw()];
      const segments = compareExtents(older, newer, size);
      const holds = (extents: typeof older, n: number) => extents.some((e) => e.offset <= n && n < e.offset + e.length);
      const wrong: number[] = [];
      for (const { offset, length, kind } of segments) {
        for (let n = offset; n < offset + length; n++) {
          const wanted = holds(older, n) ? (holds(newer, n) ? 'unknown' : 'removed') : holds(newer, n) ? 'added' : 'empty';
          if (kind !== wanted) wrong.push(n);
        }
      }
      expect(wrong).toEqual([]);
      expect(Object.values(totals(segments)).reduce((a, b) => a + b, 0)).toBe(size);
    }
  });
  it('is told block by block when contents are compared', () => {
    const older = new Uint8Array(300);
    const newer = older.slice();
    newer[150] = 1;
    expect(compareBytes(1000, older, newer, 100)).toEqual([
      { offset: 1000, length: 100, kind: 'same' }, { offset: 1100, length: 100, kind: 'changed' }, { offset: 1200, length: 100, kind: 'same' },
    ]);
    expect(totals(compareBytes(0, older.slice(0, 250), newer, 100))).toMatchObject({ same: 100, changed: 200 });
  });
  it('is told by the list of changes, where both hold data', () => {
    const found = [
      { offset: 0, length: 10, kind: 'unknown' as const }, { offset: 10, length: 10, kind: 'added' as const },
      { offset: 20, length: 20, kind: 'unknown' as const }, { offset: 40, length: 5, kind: 'empty' as const },
    ];
    const changes = [{ offset: 5, length: 17 }, { offset: 30, length: 4 }];
    const told = settle(found, changes).map(({ offset, length, kind }) => `${kind} ${offset}+${length}`);
    expect(told).toEqual(['same 0+5', 'changed 5+5', 'added 10+10', 'changed 20+2', 'same 22+8', 'changed 30+4', 'same 34+6', 'empty 40+5']);
    expect(settle(found, []).map(({ kind }) => kind)).toEqual(['same', 'added', 'same', 'empty']);
    expect(settle([], changes)).toEqual([]);
  });
  it('is seen on the map, be it a single block of a large disk', () => {
    const map = new DiskMap(1024 * MiB, 512, 65_536);
    map.reset([{ offset: 0, length: 1024 * MiB, kind: 'same' }, { offset: 700 * MiB, length: 65_536, kind: 'changed' }]);
    expect(map.cells.length).toBe(512);
    expect(map.cells.filter((kind) => kind === 'changed').length).toBe(1);
    expect(map.cells[350]).toBe('changed');
  });
  it('has a map of a tiny disk, too', () => {
    const map = new DiskMap(100, 512, 65_536);
    map.add({ offset: 0, length: 100, kind: 'added' });
    expect(map.cells).toEqual(['added']);
  });
});

describe('a qcow2 file', () => {
  it('has clusters where there is data, each once', () => {
    const extents = [{ offset: 10, length: 5 }, { offset: CLUSTER - 1, length: 2 }, { offset: 3 * CLUSTER, length: 2 * CLUSTER }, { offset: 4 * CLUSTER, length: 10 }];
    expect(clusterRanges(extents)).toEqual([[0, 2], [3, 2]]);
  });
  it('names its tables and clusters where they are', () => {
    const size = 3 * 512 * MiB;
    const layout = qcow2Layout(size, [{ offset: 0, length: CLUSTER }, { offset: 1024 * MiB, length: 3 * CLUSTER }]);
    const view = new DataView(layout.metadata.buffer);
    expect([view.getUint32(0), view.getUint32(4), view.getUint32(20), Number(view.getBigUint64(24)), view.getUint32(36)]).toEqual([0x514649fb, 3, 16, size, 3]);
    const l1 = Number(view.getBigUint64(40));
    const at = (n: number) => Number(view.getBigUint64(n) & ((1n << 56n) - 1n));
    expect(at(l1 + 8)).toBe(0);
    expect(at(at(l1))).toBe(layout.pieces[0]?.at);
    expect(at(at(l1 + 16) + 16)).toBe((layout.pieces[1]?.at ?? 0) + 2 * CLUSTER);
    expect(layout.fileSize).toBe(layout.metadata.length + 4 * CLUSTER);
    const refcounts = Number(view.getBigUint64(Number(view.getBigUint64(48))));
    const counted = Array.from({ length: layout.fileSize / CLUSTER + 1 }, (_, n) => view.getUint16(refcounts + 2 * n));
    expect(counted.slice(0, -1).every((count) => count === 1)).toBe(true);
    expect(counted.at(-1)).toBe(0);
  });
  it('counts also when the counts need several blocks', () => {
    const size = 8 * 1024 * MiB;
    const layout = qcow2Layout(size, [{ offset: 0, length: size }]);
    const view = new DataView(layout.metadata.buffer);
    const table = Number(view.getBigUint64(48));
    const blocks = Math.ceil(layout.fileSize / CLUSTER / 32_768);
    expect(blocks).toBe(5);
    for (let n = 0; n < blocks; n++) expect(Number(view.getBigUint64(table + 8 * n))).toBe(Number(view.getBigUint64(table)) + n * CLUSTER);
  });
  it('ends with the volume, also if that is no whole cluster', () => {
    const layout = qcow2Layout(CLUSTER + 1000, [{ offset: 0, length: CLUSTER + 1000 }]);
    expect(layout.pieces).toEqual([{ offset: 0, length: CLUSTER + 1000, at: layout.metadata.length }]);
  });
});

it('pieces are read in chunks that the service gives', () => {
  expect(chunks([{ offset: 5, length: 2 * CHUNK + 1, at: 100 }, { offset: 9_000_000, length: 3, at: 7 }])).toEqual([
    { offset: 5, length: CHUNK, at: 100 }, { offset: 5 + CHUNK, length: CHUNK, at: 100 + CHUNK }, { offset: 5 + 2 * CHUNK, length: 1, at: 100 + 2 * CHUNK },
    { offset: 9_000_000, length: 3, at: 7 },
  ]);
});
