import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Heard, Live } from './live';

/** Streams that were opened, newest last. */
let streams: FakeStream[] = [];

class FakeStream {
  static OPEN = 1;
  static CLOSED = 2;
  readyState = 1;
  onerror: (() => void) | undefined;
  private listeners = new Map<string, (event: { data: string }) => void>();
  constructor() {
    streams.push(this);
  }
  addEventListener(name: string, listener: (event: { data: string }) => void) {
    this.listeners.set(name, listener);
  }
  close() {
    this.readyState = 2;
  }
  say(name: string, data: object) {
    this.listeners.get(name)?.({ data: JSON.stringify({ revision: 1, serverTime: Date.now() / 1000, ...data }) });
  }
  refuse() {
    this.readyState = 2;
    this.onerror?.();
  }
}

/** Channels of one browser: what one says the others hear. */
let channels: Set<FakeChannel>;

class FakeChannel {
  private listeners = new Set<(event: { data: Heard }) => void>();
  constructor() {
    channels.add(this);
  }
  addEventListener(_: string, listener: (event: { data: Heard }) => void) {
    this.listeners.add(listener);
  }
  removeEventListener(_: string, listener: (event: { data: Heard }) => void) {
    this.listeners.delete(listener);
  }
  postMessage(data: Heard) {
    for (const other of channels) if (other !== this) for (const listener of other.listeners) listener({ data });
  }
  close() {
    channels.delete(this);
  }
}

/** A lock that one holds at a time, in the order of asking. */
function fakeLocks() {
  const queue: (() => Promise<void> | undefined)[] = [];
  let held = false;
  const next = () => {
    const work = held ? undefined : queue.shift();
    if (!work) return;
    held = true;
    void Promise.resolve(work()).then(() => {
      held = false;
      next();
    });
  };
  return {
    request: (_: string, { signal }: { signal: AbortSignal }, work: () => Promise<void> | undefined) => {
      const mine = () => (signal.aborted ? undefined : work());
      queue.push(mine);
      next();
      return Promise.resolve();
    },
  };
}

function tab() {
  const heard: Heard[] = [];
  const live = new Live((each) => heard.push(each));
  live.start();
  const changes = () => heard.filter((each) => each.type === 'change').length;
  return { live, heard, changes };
}

let session: () => Response;

beforeEach(() => {
  vi.useFakeTimers();
  streams = [];
  channels = new Set();
  session = () => Response.json({ serverTime: Date.now() / 1000 });
  vi.stubGlobal('EventSource', FakeStream);
  vi.stubGlobal('BroadcastChannel', FakeChannel);
  vi.stubGlobal('navigator', { locks: fakeLocks() });
  vi.stubGlobal('fetch', () => Promise.resolve(session()));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

describe('fifty tabs', () => {
  it('share one stream and hear the same', async () => {
    const tabs = Array.from({ length: 50 }, tab);
    await settle();
    expect(streams).toHaveLength(1);
    streams[0]?.say('hello', { version: '1', changed: [] });
    streams[0]?.say('change', { changed: ['jobs', 'unheard-of'] });
    for (const each of tabs) {
      expect(each.heard.filter((h) => h.type === 'change').at(-1)).toMatchObject({ kinds: ['jobs'] });
      expect(each.heard.filter((h) => h.type === 'status').at(-1)).toMatchObject({ status: 'live' });
    }
    await settle(30_000);
    expect(streams).toHaveLength(1);
  });

  it('go on when the leading one is closed, and read what was missed', async () => {
    const [first, second] = [tab(), tab()];
    await settle();
    first.live.stop();
    await settle();
    expect(streams).toHaveLength(2);
    expect(streams[0]?.readyState).toBe(2);
    streams[1]?.say('hello', { changed: [] });
    expect(second.heard.at(-1)).toMatchObject({ type: 'change', kinds: undefined });
  });
});

describe('without a stream', () => {
  it('what is shown is read every five seconds, until there is one again', async () => {
    const one = tab();
    await settle();
    streams[0]?.refuse();
    await settle();
    expect(one.heard.at(-1)).toMatchObject({ status: 'polling' });
    await settle(20_000);
    expect(one.changes()).toBe(4);
    await settle(10_001);
    expect(streams).toHaveLength(2);
    streams[1]?.say('hello', { changed: [] });
    const before = one.changes();
    await settle(14_000);
    expect(one.changes()).toBe(before);
  });

  it('a service that is away is asked again soon', async () => {
    session = () => {
      throw new TypeError('failed to fetch');
    };
    const one = tab();
    await settle();
    streams[0]?.refuse();
    await settle();
    expect(one.heard.at(-1)).toEqual({ type: 'status', status: 'unreachable' });
    await settle(5_001);
    expect(streams).toHaveLength(2);
  });

  it('a session that has ended is told, and nothing is opened again', async () => {
    session = () => new Response('{}', { status: 401 });
    const one = tab();
    await settle();
    streams[0]?.refuse();
    await settle(60_000);
    expect(one.heard.filter((each) => each.type === 'signed-out').length).toBeGreaterThan(0);
    expect(one.heard.some((each) => each.type === 'status' && each.status === 'polling')).toBe(false);
  });
});

it('a stream that the browser opens anew by itself is told as that, or as no service', async () => {
  const one = tab();
  await settle();
  const stream = streams[0];
  if (!stream) throw new Error('no stream was opened');
  stream.readyState = 0;
  stream.onerror?.();
  await settle();
  expect(one.heard.at(-1)).toEqual({ type: 'status', status: 'connecting' });
  session = () => {
    throw new TypeError('failed to fetch');
  };
  stream.onerror?.();
  await settle();
  expect(one.heard.at(-1)).toEqual({ type: 'status', status: 'unreachable' });
});

it('a stream that says nothing for long is dead and replaced', async () => {
  tab();
  await settle();
  streams[0]?.say('hello', { changed: [] });
  await settle(46_000);
  expect(streams).toHaveLength(2);
  expect(streams[0]?.readyState).toBe(2);
});
