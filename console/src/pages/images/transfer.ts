// Reading volumes of images: where they hold data, and the data itself, a few pieces at a time.

import { call, readImage } from '../../api/client';
import { ApiError, UNREACHABLE } from '../../api/errors';
import type { DataExtent } from '../../api/generated/shapes';
import { qcow2Layout, type Piece } from './qcow2';

/** What one read gives at most. */
export const CHUNK = 1 << 20;

/** Reads at a time. The service has four turns for everybody, so some are left to others. */
const READERS = 3;
const ATTEMPTS = 5;

export type VolumeExtents = { size: number; extents: DataExtent[] };

/** Where a volume holds data. */
export async function volumeExtents(imageId: string, volume: number, signal: AbortSignal): Promise<VolumeExtents> {
  return inPieces(async (from) => {
    const { size, extents, next } = await call('godwit:ListImageExtents', { imageId, volume, maxResults: 1000, ...from }, { signal });
    return { size, extents, next };
  });
}

/** Where a volume is another than that of the same device in an image of the same key. */
export async function volumeChanges(baseImageId: string, imageId: string, volume: number, signal: AbortSignal): Promise<VolumeExtents> {
  return inPieces(async (from) => {
    const { size, changes, next } = await call('godwit:ListImageChanges', { imageId, volume, baseImageId, maxResults: 1000, ...from }, { signal });
    return { size, extents: changes, next };
  });
}

/** Joins the pieces of a list of extents. */
async function inPieces(ask: (from: { from?: number }) => Promise<VolumeExtents & { next?: number | undefined }>): Promise<VolumeExtents> {
  const extents: DataExtent[] = [];
  let from: { from?: number } = {};
  for (;;) {
    const answer = await ask(from);
    for (const extent of answer.extents) {
      const last = extents.at(-1);
      if (last && last.offset + last.length === extent.offset) last.length += extent.length;
      else extents.push({ ...extent });
    }
    if (answer.next === undefined) return { size: answer.size, extents };
    from = { from: answer.next };
  }
}

/** Pieces of at most a chunk. */
export function chunks(pieces: readonly Piece[]): Piece[] {
  const all: Piece[] = [];
  for (const piece of pieces) {
    for (let done = 0; done < piece.length; done += CHUNK) {
      all.push({ offset: piece.offset + done, length: Math.min(CHUNK, piece.length - done), at: piece.at + done });
    }
  }
  return all;
}

/** Passes by itself: the service is away for a moment, or has no turn to give. */
const passes = (error: unknown) => error instanceof ApiError && (error.code === UNREACHABLE || error.status >= 500 || error.status === 429);

export async function readPersistently(request: Parameters<typeof readImage>[0], signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readImage(request, { signal });
    } catch (thrown) {
      if (!passes(thrown) || attempt === ATTEMPTS || signal.aborted) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 1000 * attempt));
    }
  }
}

/** Works on all items, some at a time, and ends with the first failure. */
export async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: READERS }, worker));
}

export type Format = 'raw' | 'qcow2';

/** A file that can be written anywhere. */
export type Sink = {
  write: (at: number, data: Uint8Array<ArrayBuffer>) => Promise<void>;
  setSize: (size: number) => Promise<void>;
};

export type Progress = (done: number, all: number) => void;

/** Writes a volume into a file. */
export async function exportVolume(imageId: string, volume: number, format: Format, sink: Sink, progress: Progress, signal: AbortSignal): Promise<void> {
  const { size, extents } = await volumeExtents(imageId, volume, signal);
  let pieces: Piece[];
  if (format === 'qcow2') {
    const layout = qcow2Layout(size, extents);
    await sink.setSize(layout.fileSize);
    await sink.write(0, layout.metadata);
    pieces = layout.pieces;
  } else {
    await sink.setSize(size);
    pieces = extents.map((extent) => ({ ...extent, at: extent.offset }));
  }
  const all = pieces.reduce((sum, piece) => sum + piece.length, 0);
  let done = 0;
  progress(0, all);
  await eachOf(chunks(pieces), async ({ offset, length, at }) => {
    signal.throwIfAborted();
    await sink.write(at, await readPersistently({ imageId, volume, offset, length }, signal));
    done += length;
    progress(done, all);
  });
}
