import { afterEach, beforeEach, expect, it, vi } from 'vitest';

const HOUR = 3_600;
const NOW = 1_795_000_000;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW * 1000 });
  vi.resetModules();
});
afterEach(() => vi.useRealTimers());

it('before anybody has told the time, the browser\'s own counts', async () => {
  const { serverNow } = await import('./clock');
  expect(serverNow()).toBe(NOW);
});

it('the time is the service\'s, however wrong the browser\'s is', async () => {
  const { serverNow, setServerTime } = await import('./clock');
  for (const wrong of [2 * HOUR, -2 * HOUR, 0]) {
    setServerTime(NOW + wrong);
    expect(serverNow()).toBe(NOW + wrong);
    vi.setSystemTime((NOW + 90) * 1000);
    expect(serverNow()).toBe(NOW + wrong + 90);
    vi.setSystemTime(NOW * 1000);
  }
});

it('what a message takes on its way makes nothing jump, and a clock that is set does', async () => {
  const { serverNow, setServerTime } = await import('./clock');
  setServerTime(NOW + HOUR);
  for (const late of [0.7, -0.7, 0.3]) {
    setServerTime(NOW + HOUR + late);
    expect(serverNow()).toBe(NOW + HOUR);
  }
  setServerTime(NOW + HOUR + 1);
  expect(serverNow()).toBe(NOW + HOUR + 1);
  // The browser's clock is put right while the page is open: the next message tells.
  vi.setSystemTime((NOW + HOUR) * 1000);
  setServerTime(NOW + HOUR + 1);
  expect(serverNow()).toBe(NOW + HOUR + 1);
});
