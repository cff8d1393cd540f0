// Large files in a browser: where people choose, or in the browser's own space from where they are saved.

import type { Sink } from './transfer';

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

export type Target = {
  sink: Sink;
  /** The file is whole. Gives an address to save it from, if it is not where it belongs yet. */
  finish: () => Promise<{ url: string; discard: () => void } | undefined>;
  abort: () => Promise<void>;
};

const picker = () => (window as unknown as { showSaveFilePicker?: Picker }).showSaveFilePicker;

export const canWriteFiles = () => picker() !== undefined || typeof navigator.storage?.getDirectory === 'function';

/** Undefined if nobody wants a file after all. */
export async function openFile(name: string): Promise<Target | undefined> {
  const pick = picker();
  let handle: FileSystemFileHandle;
  if (pick) {
    try {
      handle = await pick({ suggestedName: name });
    } catch (thrown) {
      if (thrown instanceof DOMException && thrown.name === 'AbortError') return undefined;
      throw thrown;
    }
  } else {
    const folder = await navigator.storage.getDirectory();
    handle = await folder.getFileHandle(name, { create: true });
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
      const url = URL.createObjectURL(await handle.getFile());
      const discard = () => {
        URL.revokeObjectURL(url);
        void navigator.storage.getDirectory().then((folder) => folder.removeEntry(name));
      };
      return { url, discard };
    },
    abort: () => file.abort(),
  };
}
