// Large files in a browser: where people choose, or in the browser's own space from where they are saved.

import type { Sink } from './transfer';

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

/** A file in the browser's own space, which the browser copies to where its downloads go. */
export type Saving = { url: string; size: number; discard: () => Promise<void> };

export type Target = {
  sink: Sink;
  /** The file is whole. Gives an address to save it from, if it is not where it belongs yet. */
  finish: () => Promise<Saving | undefined>;
  abort: () => Promise<void>;
};

const picker = () => (window as unknown as { showSaveFilePicker?: Picker }).showSaveFilePicker;

export const canWriteFiles = () => picker() !== undefined || typeof navigator.storage?.getDirectory === 'function';

/** Milliseconds in which a file is copied even by a slow disk, at 10 MB/s. Browsers do not tell when they are done. */
export const copyTime = (size: number) => 60_000 + size / 10_000;

/**
 * Removes what pages left in the browser's own space that were closed too soon to do it themselves. It is of no use to
 * anybody, and may be as large as a disk. A file that is being written, by another page, refuses to be removed.
 */
export async function removeLeftovers(): Promise<void> {
  if (typeof navigator.storage?.getDirectory !== 'function') return;
  const folder = await navigator.storage.getDirectory();
  for await (const [entry, handle] of folder.entries()) {
    const { lastModified, size } = await (handle as FileSystemFileHandle).getFile();
    if (lastModified + copyTime(size) < Date.now()) await folder.removeEntry(entry).catch(() => undefined);
  }
}

/** Undefined if nobody wants a file after all. */
export async function openFile(name: string): Promise<Target | undefined> {
  const pick = picker();
  let handle: FileSystemFileHandle;
  let discard = async () => {};
  if (pick) {
    try {
      handle = await pick({ suggestedName: name });
    } catch (thrown) {
      if (thrown instanceof DOMException && thrown.name === 'AbortError') return undefined;
      throw thrown;
    }
  } else {
    const folder = await navigator.storage.getDirectory();
    // A name of its own: the same volume may be exported once more while this file is still being copied.
    const entry = `${crypto.randomUUID()}-${name}`;
    handle = await folder.getFileHandle(entry, { create: true });
    discard = () => folder.removeEntry(entry);
  }
  const file = await handle.createWritable();
  return {
    sink: {
      write: (position, data) => file.write({ type: 'write', position, data }),
      setSize: (size) => file.truncate(size),
    },
    finish: async () => {
      await file.close();
      if (pick) return undefined;
      const whole = await handle.getFile();
      const url = URL.createObjectURL(whole);
      return {
        url,
        size: whole.size,
        discard: () => {
          URL.revokeObjectURL(url);
          return discard();
        },
      };
    },
    abort: async () => {
      // It is closed already if closing is what failed.
      await file.abort().catch(() => undefined);
      await discard();
    },
  };
}
