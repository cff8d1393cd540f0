import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { copyTime, openFile, removeLeftovers } from './files';

type Entry = { kind: 'file'; size: number; lastModified: number; locked: boolean };

/** The browser's own space, as far as it is used. */
let space: Map<string, Entry>;

const NOW = 1_795_000_000_000;
const entry = (age: number, fields: Partial<Entry> = {}): Entry => ({ kind: 'file', size: 10, lastModified: NOW - age, locked: false, ...fields });

function handleOf(name: string) {
  const file = space.get(name);
  if (!file) throw new DOMException('gone', 'NotFoundError');
  return {
    kind: 'file',
    getFile: async () => Object.assign(new Blob(['x'.repeat(file.size)]), { lastModified: file.lastModified }),
    createWritable: async () => {
      file.locked = true;
      const closed = async () => { file.locked = false; };
      return { write: async () => { file.size += 1; }, truncate: async () => undefined, close: closed, abort: closed };
    },
  };
}

const folder = {
  getFileHandle: async (name: string) => {
    if (!space.has(name)) space.set(name, entry(0, { size: 0 }));
    return handleOf(name);
  },
  removeEntry: async (name: string) => {
    if (space.get(name)?.locked) throw new DOMException('locked', 'NoModificationAllowedError');
    if (!space.delete(name)) throw new DOMException('gone', 'NotFoundError');
  },
  entries: async function* () {
    for (const name of [...space.keys()]) yield [name, handleOf(name)];
  },
};

beforeEach(() => {
  space = new Map();
  vi.useFakeTimers({ now: NOW, toFake: ['Date'] });
  vi.stubGlobal('window', {});
  vi.stubGlobal('navigator', { storage: { getDirectory: async () => folder } });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

it('a file may be copied for longer the larger it is', () => {
  expect([copyTime(0), copyTime(10_000_000), copyTime(100_000_000_000)]).toEqual([60_000, 61_000, 10_060_000]);
});

it('what was left is removed: not what is young, and not what is being written', async () => {
  space = new Map([['old', entry(120_000)], ['young', entry(30_000)], ['written', entry(120_000, { locked: true })]]);
  await removeLeftovers();
  expect([...space.keys()]).toEqual(['young', 'written']);
});

it('where there is no such space, nothing is removed', async () => {
  vi.stubGlobal('navigator', {});
  await expect(removeLeftovers()).resolves.toBeUndefined();
});

it('a file is there to be saved from until it is discarded', async () => {
  const target = await openFile('disk.raw');
  await target?.sink.write(0, new Uint8Array(1));
  const saving = await target?.finish();
  expect([saving?.size, space.size]).toEqual([1, 1]);
  expect(saving?.url).toMatch(/^blob:/);
  await saving?.discard();
  expect(space.size).toBe(0);
});

it('two exports of one volume do not get in each other\'s way', async () => {
  const [one, two] = [await openFile('disk.raw'), await openFile('disk.raw')];
  const saving = await one?.finish();
  await two?.sink.write(0, new Uint8Array(1));
  await saving?.discard();
  expect((await two?.finish())?.size).toBe(1);
});

it('an export that is given up leaves nothing', async () => {
  const target = await openFile('disk.raw');
  expect(space.size).toBe(1);
  await target?.abort();
  expect(space.size).toBe(0);
});

it('what people chose themselves is theirs', async () => {
  space.set('chosen', entry(0));
  vi.stubGlobal('window', { showSaveFilePicker: async () => handleOf('chosen') });
  const target = await openFile('disk.raw');
  expect(await target?.finish()).toBeUndefined();
  await target?.abort();
  expect([...space.keys()]).toEqual(['chosen']);
});
