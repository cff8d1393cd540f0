// What was read from the service, once for whoever shows it.
//
// Each key is read by one request at a time. What is shown stays while it is read again; what failed keeps what was
// known before, with the error beside it, and is read again with the next event. Nobody reads for a hidden tab: it is
// brought up to date when it is looked at.

import { type ApiError, asApiError } from '../api/errors';
import type { Kind } from '../api/session';

/** What is known of a key. A new object whenever anything changes. */
export type Known<T> = {
  data: T | undefined;
  error: ApiError | undefined;
  /** Whether it is being read at the moment. */
  reading: boolean;
};

export type Query<T> = {
  key: string;
  /** Kinds of things whose change makes it out of date. */
  kinds: readonly Kind[];
  /** Reads it. `previous` is what was known, `changed` what has changed since; undefined: anything may have. */
  read: (
    background: boolean,
    previous: T | undefined,
    changed: ReadonlySet<Kind> | undefined,
    age: number,
  ) => Promise<T>;
};

type Entry = {
  query: Query<unknown>;
  known: Known<unknown>;
  listeners: Set<() => void>;
  /** What has changed since it was read; `all`: anything. */
  stale: Set<Kind> | 'all' | undefined;
  endedAt: number;
  /** Milliseconds that reading takes. */
  took: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  unusedSince: number;
};

/** Milliseconds between two readings of a key at least. */
const PAUSE = 400;

/** The same, as a multiple of what reading takes: half of nobody's time goes into reading again. */
const PAUSE_FACTOR = 3;

/** And at most so long, however long that took: what changes is to be seen within two seconds. */
const LONGEST_PAUSE = 1_200;

/** Milliseconds that something which nobody shows is remembered. */
const REMEMBERED = 300_000;

export class Cache {
  private entries = new Map<string, Entry>();
  private isHidden: () => boolean;
  private now: () => number;

  constructor(
    isHidden: () => boolean = () => typeof document !== 'undefined' && document.visibilityState === 'hidden',
    now: () => number = () => Date.now(),
  ) {
    this.isHidden = isHidden;
    this.now = now;
  }

  /** What is known of a key at this moment. */
  peek<T>(key: string): Known<T> {
    return (this.entries.get(key)?.known ?? NOTHING) as Known<T>;
  }

  /** Shows it from now on: reads it if that was not done yet or is out of date. Gives the function that ends it. */
  watch<T>(query: Query<T>, listener: () => void): () => void {
    const entry = this.entry(query);
    entry.listeners.add(listener);
    if (entry.stale) this.refresh(entry, false);
    return () => {
      entry.listeners.delete(listener);
      entry.unusedSince = this.now();
    };
  }

  /** Something changed: what is shown of it is read again. Without kinds, anything may have. */
  invalidate(kinds?: readonly Kind[]): void {
    this.forget();
    for (const entry of this.entries.values()) {
      if (kinds && !entry.query.kinds.some((kind) => kinds.includes(kind))) continue;
      if (!kinds || entry.stale === 'all') entry.stale = 'all';
      else entry.stale = new Set([...(entry.stale ?? []), ...kinds]);
      this.refresh(entry, true);
    }
  }

  /** Reads it again at once, because somebody asks for it. */
  again(key: string): void {
    const entry = this.entries.get(key);
    if (!entry) return;
    entry.stale = 'all';
    entry.endedAt = 0;
    this.refresh(entry, false);
  }

  /** The tab is looked at again. */
  shown(): void {
    for (const entry of this.entries.values()) if (entry.stale) this.refresh(entry, true);
  }

  /** Somebody else is signed in, or nobody: nothing that was known is shown any more. */
  clear(): void {
    for (const entry of this.entries.values()) clearTimeout(entry.timer);
    this.entries.clear();
  }

  private entry<T>(query: Query<T>): Entry {
    const there = this.entries.get(query.key);
    if (there) {
      there.query = query as Query<unknown>;
      return there;
    }
    const entry: Entry = {
      query: query as Query<unknown>,
      known: NOTHING,
      listeners: new Set(),
      stale: 'all',
      endedAt: 0,
      took: 0,
      timer: undefined,
      unusedSince: this.now(),
    };
    this.entries.set(query.key, entry);
    return entry;
  }

  private refresh(entry: Entry, background: boolean): void {
    if (entry.listeners.size === 0 || entry.known.reading || entry.timer) return;
    if (background && this.isHidden()) return;
    const pause = Math.min(LONGEST_PAUSE, Math.max(PAUSE, PAUSE_FACTOR * entry.took));
    const wait = entry.endedAt + pause - this.now();
    if (wait <= 0) {
      void this.read(entry, background);
      return;
    }
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      if (entry.stale) this.refresh(entry, background);
    }, wait);
  }

  private async read(entry: Entry, background: boolean): Promise<void> {
    const changed = entry.stale === 'all' || entry.stale === undefined ? undefined : entry.stale;
    const began = this.now();
    const age = entry.endedAt === 0 ? Infinity : began - entry.endedAt;
    entry.stale = undefined;
    this.set(entry, { ...entry.known, reading: true });
    try {
      const data = await entry.query.read(background, entry.known.data, changed, age);
      this.set(entry, { data, error: undefined, reading: false });
    } catch (thrown) {
      this.set(entry, { data: entry.known.data, error: asApiError(thrown), reading: false });
    }
    entry.endedAt = this.now();
    entry.took = entry.endedAt - began;
    // What changed while it was read may be missing in the answer.
    if (entry.stale) this.refresh(entry, true);
  }

  private set(entry: Entry, known: Known<unknown>): void {
    entry.known = known;
    for (const listener of [...entry.listeners]) listener();
  }

  private forget(): void {
    for (const [key, entry] of this.entries) {
      const unused = entry.listeners.size === 0 && !entry.known.reading;
      if (unused && this.now() - entry.unusedSince > REMEMBERED) this.entries.delete(key);
    }
  }
}

const NOTHING: Known<never> = Object.freeze({ data: undefined, error: undefined, reading: false });

/** The one that the pages share. */
export const cache = new Cache();
