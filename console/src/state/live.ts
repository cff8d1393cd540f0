// One stream of events for all tabs of a browser.
//
// A browser has few connections to a host, so one tab leads: whoever holds a lock. It reads `/events` and hands on
// what it hears through a channel. If it is closed, the lock goes to the next one, which opens a stream of its own.
// Without a stream, or without locks, what is shown is read again every five seconds.

import { readSession } from '../api/client';
import { KINDS, type Kind } from '../api/session';
import { setServerTime } from './clock';

export type LiveStatus = 'connecting' | 'live' | 'polling' | 'unreachable';

export type Heard =
  | { type: 'change'; kinds: readonly Kind[] | undefined; serverTime?: number; version?: string }
  | { type: 'status'; status: LiveStatus; serverTime?: number; version?: string }
  | { type: 'signed-out' }
  | { type: 'signed-in' };

type StreamData = { revision: number; serverTime: number; version?: string; changed?: string[] };

const POLL = 5_000;
/** A heartbeat comes every 15 s: what is silent for so long is dead. */
const SILENCE = 40_000;
/** After a refusal, streams are tried again so much later. */
const STREAM_AGAIN = 30_000;
const LOCK = 'godwit-events';

export class Live {
  private channel = typeof BroadcastChannel === 'undefined' ? undefined : new BroadcastChannel(LOCK);
  private stopped = false;
  private abort = new AbortController();
  private release: (() => void) | undefined;
  private source: EventSource | undefined;
  private heardAt = Date.now();
  private watchdog: ReturnType<typeof setInterval> | undefined;
  private poller: ReturnType<typeof setInterval> | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private leads = false;
  private hear: (heard: Heard) => void;

  constructor(hear: (heard: Heard) => void) {
    this.hear = hear;
  }

  start(): void {
    this.channel?.addEventListener('message', this.fromOthers);
    this.watchdog = setInterval(() => this.watch(), POLL);
    const locks: LockManager | undefined = this.channel ? navigator.locks : undefined;
    if (!locks) {
      this.hear({ type: 'status', status: 'polling' });
      this.poll();
      return;
    }
    locks
      .request(LOCK, { signal: this.abort.signal }, () => {
        if (this.stopped) return undefined;
        this.leads = true;
        this.open();
        return new Promise<void>((release) => (this.release = release));
      })
      .catch(() => {
        // Only the end of this page ends the wait for the lock.
      });
  }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
    this.source?.close();
    clearInterval(this.watchdog);
    clearInterval(this.poller);
    clearTimeout(this.again);
    this.channel?.removeEventListener('message', this.fromOthers);
    this.channel?.close();
    this.release?.();
  }

  /** Tells the other tabs of this browser. */
  tell(heard: Heard): void {
    this.channel?.postMessage(heard);
  }

  private fromOthers = (event: MessageEvent<Heard>) => {
    this.heardAt = Date.now();
    this.take(event.data);
  };

  private take(heard: Heard): void {
    if ('serverTime' in heard && heard.serverTime) setServerTime(heard.serverTime);
    if (heard.type === 'status' && heard.status === 'live') this.endPolling();
    this.hear(heard);
  }

  /** Of the leader: for itself and for the others. */
  private spread(heard: Heard): void {
    this.heardAt = Date.now();
    this.tell(heard);
    this.take(heard);
  }

  private open(): void {
    if (this.stopped) return;
    this.source?.close();
    const source = new EventSource('/events');
    this.source = source;
    this.heardAt = Date.now();
    const on = (name: string, listen: (data: StreamData) => void) =>
      source.addEventListener(name, (event: MessageEvent<string>) => listen(JSON.parse(event.data) as StreamData));
    let greeted = false;
    on('hello', ({ serverTime, version, changed }) => {
      this.spread({ type: 'status', status: 'live', serverTime, version });
      // A stream of a new leader does not know what was missed between the last one and this one.
      this.spread({ type: 'change', kinds: greeted ? kindsOf(changed) : undefined, serverTime });
      greeted = true;
    });
    on('change', ({ serverTime, changed }) => this.spread({ type: 'change', kinds: kindsOf(changed), serverTime }));
    on('heartbeat', ({ serverTime }) => this.spread({ type: 'status', status: 'live', serverTime }));
    on('signed-out', () => {
      source.close();
      this.spread({ type: 'signed-out' });
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) void this.refused();
      else void this.interrupted();
    };
  }

  /** The browser opens the stream anew by itself. Is there a service at all? */
  private async interrupted(): Promise<void> {
    this.spread({ type: 'status', status: 'connecting' });
    const found = await this.ask();
    if (found === 'unreachable' && this.source?.readyState !== EventSource.OPEN) this.spread({ type: 'status', status: 'unreachable' });
  }

  /** The stream was refused, or there is no service: find out which, and read by ourselves meanwhile. */
  private async refused(): Promise<void> {
    this.source?.close();
    const found = await this.ask();
    if (found === 'signed-out' || this.stopped) return;
    this.spread({ type: 'status', status: found });
    this.poll();
    clearTimeout(this.again);
    this.again = setTimeout(() => this.open(), found === 'unreachable' ? POLL : STREAM_AGAIN);
  }

  private async ask(): Promise<'polling' | 'unreachable' | 'signed-out'> {
    try {
      if (await readSession(true)) return 'polling';
      this.spread({ type: 'signed-out' });
      return 'signed-out';
    } catch {
      return 'unreachable';
    }
  }

  private watch(): void {
    if (Date.now() - this.heardAt < SILENCE) return;
    // The leader hears nothing: it connects anew. Another tab hears nothing of the leader: it reads by itself.
    if (this.leads) this.open();
    else {
      this.hear({ type: 'status', status: 'polling' });
      this.poll();
    }
  }

  private poll(): void {
    if (this.poller || this.stopped) return;
    const changed: Heard = { type: 'change', kinds: undefined };
    this.poller = setInterval(() => (this.leads ? this.spread(changed) : this.hear(changed)), POLL);
  }

  private endPolling(): void {
    clearInterval(this.poller);
    this.poller = undefined;
  }
}

function kindsOf(names: string[] | undefined): Kind[] {
  return KINDS.filter((kind) => names?.includes(kind));
}
