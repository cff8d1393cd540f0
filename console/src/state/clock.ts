// The service's clock: relative times must not lie when the browser's clock is off.

import { useSyncExternalStore } from 'react';

let offset = 0;

/** Seconds since 1970 by the browser's clock. */
const own = () => Date.now() / 1000;

/** Takes note of what time it is at the service. A small difference is only the way of the message: nothing jumps. */
export function setServerTime(serverTime: number): void {
  const measured = serverTime - own();
  if (Math.abs(measured - offset) <= 0.75) return;
  offset = measured;
  tick();
}

/** Seconds since 1970 by the service's clock. */
export function serverNow(): number {
  return own() + offset;
}

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
/** 0: nobody looked since the clock was last shown. */
let second = 0;

function tick(): void {
  second = Math.floor(serverNow());
  for (const each of listeners) each();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    if (document.visibilityState !== 'hidden') tick();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
    // What is shown next begins with the time that it is then.
    second = 0;
  };
}

/** The service's time in whole seconds, which moves on by itself; `step` seconds at a time. */
export function useNow(step = 1): number {
  return useSyncExternalStore(subscribe, () => {
    if (second === 0) second = Math.floor(serverNow());
    return second - (second % step);
  });
}
