import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../api/errors';
import { Cache, type Query } from './cache';

let hidden = false;
let cache: Cache;

beforeEach(() => {
  vi.useFakeTimers();
  hidden = false;
  cache = new Cache(() => hidden);
});
afterEach(() => void vi.useRealTimers());

function counting(key: string, kinds: Query<number>['kinds'] = ['jobs']) {
  const query = { key, kinds, read: vi.fn(() => Promise.resolve(query.read.mock.calls.length)) };
  return query;
}

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

describe('what was read from the service', () => {
  it('is read once for all who show it', async () => {
    const query = counting('a');
    const listener = vi.fn();
    cache.watch(query, listener);
    cache.watch(query, listener);
    await settle();
    expect(query.read).toHaveBeenCalledTimes(1);
    expect(cache.peek('a')).toEqual({ data: 1, error: undefined, reading: false });
  });

  it('is read again when something of its kind has changed, and stays visible meanwhile', async () => {
    const query = counting('a');
    cache.watch(query, () => {});
    await settle();
    cache.invalidate(['images']);
    await settle(5_000);
    expect(query.read).toHaveBeenCalledTimes(1);
    cache.invalidate(['jobs']);
    expect(cache.peek<number>('a').data).toBe(1);
    await settle(5_000);
    expect(cache.peek<number>('a').data).toBe(2);
  });

  it('is not read for each of many events', async () => {
    const query = counting('a');
    cache.watch(query, () => {});
    await settle();
    for (let n = 0; n < 100; n++) {
      cache.invalidate(['jobs']);
      await settle(10);
    }
    await settle(2_000);
    expect(query.read.mock.calls.length).toBeLessThanOrEqual(5);
    expect(query.read.mock.calls.length).toBeGreaterThanOrEqual(2);
  });

  it('is not read for a hidden tab, but as soon as that is looked at', async () => {
    const query = counting('a');
    cache.watch(query, () => {});
    await settle(1_000);
    hidden = true;
    cache.invalidate();
    await settle(60_000);
    expect(query.read).toHaveBeenCalledTimes(1);
    hidden = false;
    cache.shown();
    await settle();
    expect(query.read).toHaveBeenCalledTimes(2);
  });

  it('tells an error, keeps what was known, and is not reading any more', async () => {
    let fail = false;
    const query: Query<string> = {
      key: 'a',
      kinds: ['jobs'],
      read: () => (fail ? Promise.reject(new ApiError('InternalError', 'broken', 500)) : Promise.resolve('good')),
    };
    cache.watch(query, () => {});
    await settle(1_000);
    fail = true;
    cache.invalidate(['jobs']);
    await settle(1_000);
    const known = cache.peek<string>('a');
    expect([known.data, known.error?.code, known.reading]).toEqual(['good', 'InternalError', false]);
    fail = false;
    cache.again('a');
    await settle();
    expect(cache.peek('a')).toEqual({ data: 'good', error: undefined, reading: false });
  });

  it('is read once more if something changed while it was read', async () => {
    let answer: (n: number) => void = () => {};
    const read = vi.fn(() => new Promise<number>((resolve) => (answer = resolve)));
    cache.watch({ key: 'a', kinds: ['jobs'], read }, () => {});
    cache.invalidate(['jobs']);
    expect(read).toHaveBeenCalledTimes(1);
    answer(1);
    await settle(10_000);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('is not held back for long because reading it once took long', async () => {
    let takes = 8_000;
    const read = vi.fn(() => new Promise<number>((resolve) => setTimeout(() => resolve(1), takes)));
    cache.watch({ key: 'a', kinds: ['jobs'], read }, () => {});
    await settle(takes);
    takes = 50;
    cache.invalidate(['jobs']);
    await settle(1_000);
    expect(read).toHaveBeenCalledTimes(1);
    await settle(500);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('says what has changed to whoever reads it', async () => {
    const read = vi.fn<Query<number>['read']>(() => Promise.resolve(1));
    cache.watch({ key: 'a', kinds: ['jobs', 'runs'], read }, () => {});
    await settle(1_000);
    cache.invalidate(['runs', 'images']);
    await settle(1_000);
    expect(read.mock.calls.map((call) => call[2])).toEqual([undefined, new Set(['runs', 'images'])]);
  });

  it('is not shown to the next user', async () => {
    cache.watch(counting('a'), () => {});
    await settle();
    cache.clear();
    expect(cache.peek('a').data).toBeUndefined();
  });
});
