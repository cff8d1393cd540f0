// A qcow2 file (version 3, clusters of 64 KiB, nothing compressed) for a volume of which it is known where data is.
//
// Since that is known beforehand, all metadata is laid out first and the data follows in the order of the disk:
//
//   header | refcount table | refcount blocks | L1 table | L2 tables | data clusters
//
// Clusters without data have no entry and read as zeros. Pure.

import type { DataExtent } from '../../api/generated/shapes';

export const CLUSTER = 65_536;
const L2_ENTRIES = CLUSTER / 8;
const REFCOUNTS = CLUSTER / 2;
const COPIED = 1n << 63n;
const HEADER_LENGTH = 104;

/** A piece of the volume and where it goes in the file. */
export type Piece = { offset: number; length: number; at: number };

export type Layout = { metadata: Uint8Array<ArrayBuffer>; pieces: Piece[]; fileSize: number };

/** Ranges of clusters that hold data, merged: first and number of clusters. */
export function clusterRanges(extents: readonly DataExtent[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const { offset, length } of extents) {
    if (length === 0) continue;
    const first = Math.floor(offset / CLUSTER);
    const end = Math.ceil((offset + length) / CLUSTER);
    const last = ranges.at(-1);
    if (last && first <= last[0] + last[1]) last[1] = Math.max(last[1], end - last[0]);
    else ranges.push([first, end - first]);
  }
  return ranges;
}

export function qcow2Layout(volumeSize: number, extents: readonly DataExtent[]): Layout {
  const size = Math.ceil(volumeSize / 512) * 512;
  const ranges = clusterRanges(extents);
  const dataClusters = ranges.reduce((all, [, count]) => all + count, 0);
  const l1Entries = Math.max(1, Math.ceil(size / (CLUSTER * L2_ENTRIES)));
  const l1Clusters = Math.ceil((l1Entries * 8) / CLUSTER);
  const tables = new Set<number>();
  for (const [first, count] of ranges) {
    for (let table = Math.floor(first / L2_ENTRIES); table <= Math.floor((first + count - 1) / L2_ENTRIES); table++) tables.add(table);
  }
  // Refcount blocks count themselves and the table that names them: grow until it fits.
  let blocks = 1;
  let tableClusters = 1;
  const total = () => 1 + tableClusters + blocks + l1Clusters + tables.size + dataClusters;
  for (;;) {
    const wantedBlocks = Math.ceil(total() / REFCOUNTS);
    const wantedTable = Math.ceil((wantedBlocks * 8) / CLUSTER);
    if (wantedBlocks <= blocks && wantedTable <= tableClusters) break;
    blocks = Math.max(blocks, wantedBlocks);
    tableClusters = Math.max(tableClusters, wantedTable);
  }

  const refTableAt = 1;
  const refBlocksAt = refTableAt + tableClusters;
  const l1At = refBlocksAt + blocks;
  const l2At = l1At + l1Clusters;
  const dataAt = l2At + tables.size;
  const metadata = new Uint8Array(dataAt * CLUSTER);
  const view = new DataView(metadata.buffer);
  const put64 = (at: number, value: bigint | number) => view.setBigUint64(at, BigInt(value));

  view.setUint32(0, 0x514649fb);
  view.setUint32(4, 3);
  view.setUint32(20, 16);
  put64(24, size);
  view.setUint32(36, l1Entries);
  put64(40, l1At * CLUSTER);
  put64(48, refTableAt * CLUSTER);
  view.setUint32(56, tableClusters);
  view.setUint32(96, 4);
  view.setUint32(100, HEADER_LENGTH);

  for (let block = 0; block < blocks; block++) put64(refTableAt * CLUSTER + block * 8, (refBlocksAt + block) * CLUSTER);
  // Blocks lie one behind the other, so their counts are one array.
  for (let cluster = 0; cluster < total(); cluster++) view.setUint16(refBlocksAt * CLUSTER + cluster * 2, 1);

  const l2Of = new Map([...tables].sort((a, b) => a - b).map((table, n) => [table, l2At + n]));
  for (const [table, cluster] of l2Of) put64(l1At * CLUSTER + table * 8, BigInt(cluster * CLUSTER) | COPIED);
  const pieces: Piece[] = [];
  let next = dataAt;
  for (const [first, count] of ranges) {
    pieces.push({ offset: first * CLUSTER, length: Math.min(count * CLUSTER, volumeSize - first * CLUSTER), at: next * CLUSTER });
    for (let n = 0; n < count; n++) {
      const guest = first + n;
      const l2 = l2Of.get(Math.floor(guest / L2_ENTRIES)) ?? 0;
      put64(l2 * CLUSTER + (guest % L2_ENTRIES) * 8, BigInt((next + n) * CLUSTER) | COPIED);
    }
    next += count;
  }
  return { metadata, pieces, fileSize: next * CLUSTER };
}
