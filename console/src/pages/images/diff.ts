// What differs between two volumes, as far as it is known. Pure.

import type { DataExtent } from '../../api/generated/shapes';

/** What is known of a piece: `unknown` if both hold data that was not compared yet. */
export type Kind = 'empty' | 'same' | 'changed' | 'added' | 'removed' | 'unknown';

export const KINDS: readonly Kind[] = ['changed', 'added', 'removed', 'unknown', 'same', 'empty'];

export type Segment = { offset: number; length: number; kind: Kind };

/** Where only one of two volumes holds data, where both do, where none does: the whole disk, in order. */
export function compareExtents(older: readonly DataExtent[], newer: readonly DataExtent[], size: number): Segment[] {
  const edges = new Set([0, size]);
  for (const { offset, length } of [...older, ...newer]) {
    edges.add(Math.min(offset, size));
    edges.add(Math.min(offset + length, size));
  }
  const sorted = [...edges].sort((a, b) => a - b);
  const inOlder = walker(older);
  const inNewer = walker(newer);
  const segments: Segment[] = [];
  for (let n = 0; n + 1 < sorted.length; n++) {
    const offset = sorted[n] ?? 0;
    const length = (sorted[n + 1] ?? 0) - offset;
    const [was, is] = [inOlder(offset), inNewer(offset)];
    append(segments, { offset, length, kind: was ? (is ? 'unknown' : 'removed') : is ? 'added' : 'empty' });
  }
  return segments;
}

/** Whether extents hold an offset, asked in growing order. */
function walker(extents: readonly DataExtent[]): (offset: number) => boolean {
  let at = 0;
  return (offset) => {
    for (let extent = extents[at]; extent && extent.offset + extent.length <= offset; extent = extents[at]) at++;
    const extent = extents[at];
    return extent !== undefined && extent.offset <= offset;
  };
}

function append(segments: Segment[], segment: Segment): void {
  const last = segments.at(-1);
  if (last && last.kind === segment.kind && last.offset + last.length === segment.offset) last.length += segment.length;
  else if (segment.length > 0) segments.push(segment);
}

/** The same with what both hold told apart, by the list of what has changed. */
export function settle(segments: readonly Segment[], changes: readonly DataExtent[]): Segment[] {
  const settled: Segment[] = [];
  const left = changes.values();
  let change = left.next().value;
  for (const segment of segments) {
    const end = segment.offset + segment.length;
    for (let offset = segment.offset; offset < end; ) {
      while (change && change.offset + change.length <= offset) change = left.next().value;
      const isChanged = change !== undefined && change.offset <= offset;
      const until = segment.kind !== 'unknown' ? end : Math.min(end, change ? (isChanged ? change.offset + change.length : change.offset) : end);
      append(settled, { offset, length: until - offset, kind: segment.kind !== 'unknown' ? segment.kind : isChanged ? 'changed' : 'same' });
      offset = until;
    }
  }
  return settled;
}

/** Blocks that were compared: each is the same or changed. */
export function compareBytes(offset: number, older: Uint8Array, newer: Uint8Array, block: number): Segment[] {
  const segments: Segment[] = [];
  for (let at = 0; at < newer.length; at += block) {
    const end = Math.min(at + block, newer.length);
    let same = older.length >= end;
    for (let n = at; same && n < end; n++) same = older[n] === newer[n];
    append(segments, { offset: offset + at, length: end - at, kind: same ? 'same' : 'changed' });
  }
  return segments;
}

export function totals(segments: Iterable<Segment>): Record<Kind, number> {
  const sums: Record<Kind, number> = { empty: 0, same: 0, changed: 0, added: 0, removed: 0, unknown: 0 };
  for (const { kind, length } of segments) sums[kind] += length;
  return sums;
}

/** What is worth seeing first wins a square: a single changed block must not vanish in a gigabyte of the same. */
const RANK: Record<Kind, number> = { changed: 5, added: 4, removed: 3, unknown: 2, same: 1, empty: 0 };

/** Squares of a map of the disk, kept up to date while blocks are compared. */
export class DiskMap {
  readonly cells: Kind[];
  readonly cellSize: number;
  private size: number;

  constructor(size: number, count: number, block: number) {
    this.size = size;
    this.cellSize = Math.max(block, Math.ceil(size / count / block) * block);
    this.cells = new Array<Kind>(Math.max(1, Math.ceil(size / this.cellSize))).fill('empty');
  }

  /** Draws what is known from the beginning on. */
  reset(segments: Iterable<Segment>): void {
    this.cells.fill('empty');
    for (const segment of segments) this.add(segment);
  }

  add({ offset, length, kind }: Segment): void {
    if (length === 0) return;
    const last = Math.floor((Math.min(offset + length, this.size) - 1) / this.cellSize);
    for (let cell = Math.floor(offset / this.cellSize); cell <= last; cell++) {
      const was = this.cells[cell];
      if (was !== undefined && RANK[kind] > RANK[was]) this.cells[cell] = kind;
    }
  }
}
