// Numbers, sizes and times in words. Pure.

import { words } from '../strings/words';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Three digits and a unit: `1.25 GiB`. */
export function bytes(count: number | undefined): string {
  if (count === undefined || !Number.isFinite(count)) return '–';
  let value = count;
  let unit = 0;
  // 1023.6 KiB would be written as 1024 KiB.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${trimmed(value.toFixed(digits))} ${UNITS[unit]}`;
}

/** Megabytes a second, as the command line has them. */
export function rate(bytesPerSecond: number | undefined): string {
  if (bytesPerSecond === undefined || !Number.isFinite(bytesPerSecond)) return '–';
  const mb = bytesPerSecond / 1e6;
  return `${mb >= 100 ? mb.toFixed(0) : mb.toFixed(1)} MB/s`;
}

function trimmed(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** A span of time in its two largest units: `2 h 5 min`. */
export function duration(seconds: number | undefined): string {
  if (seconds === undefined || !Number.isFinite(seconds)) return '–';
  const s = Math.max(0, seconds);
  if (s < 1) return s === 0 ? '0 s' : '< 1 s';
  if (s < 60) return `${Math.round(s)} s`;
  const whole = Math.round(s);
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor((whole % 86_400) / 3_600), 'h'],
    [Math.floor((whole % 3_600) / 60), 'min'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ');
}

const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, 'second'],
  [3_600, 'minute'],
  [86_400, 'hour'],
  [86_400 * 30, 'day'],
  [86_400 * 365, 'month'],
  [Infinity, 'year'],
];
const SECONDS: Record<string, number> = {
  second: 1, minute: 60, hour: 3_600, day: 86_400, month: 86_400 * 30, year: 86_400 * 365,
};
const relativeFormat = new Intl.RelativeTimeFormat(words.language, { numeric: 'always' });

/** How far a time is from now, by the same clock: `3 minutes ago`, `in 2 hours`. */
export function relative(time: number, now: number): string {
  const difference = time - now;
  const size = Math.abs(difference);
  // Now is told in whole seconds, and a message takes its time: what has just happened is not to come.
  if (size < 5) return difference < 2 ? words.now : words.soon;
  const [, unit] = STEPS.find(([below]) => size < below) ?? [0, 'year' as const];
  const count = Math.trunc(difference / (SECONDS[unit] ?? 1));
  return relativeFormat.format(count, unit);
}

const absoluteFormat = new Intl.DateTimeFormat(words.dates, {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
  timeZoneName: 'short',
});
const shortFormat = new Intl.DateTimeFormat(words.dates, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

/** Date, time and zone of the browser. */
export const absolute = (time: number) => absoluteFormat.format(time * 1000);

/** Day and minute, for charts. */
export const short = (time: number) => shortFormat.format(time * 1000);

/** `Europe/Berlin, GMT+1` */
export function zoneName(time: number): string {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const parts = new Intl.DateTimeFormat(words.dates, { timeZoneName: 'shortOffset' }).formatToParts(time * 1000);
  const offset = parts.find((part) => part.type === 'timeZoneName')?.value ?? '';
  return offset === '' || offset === timeZone ? timeZone : `${timeZone}, ${offset}`;
}

/** `every 12 hours` */
export function interval(minutes: number): string {
  if (minutes % 1440 === 0) return words.every.day(minutes / 1440);
  return minutes % 60 === 0 ? words.every.hour(minutes / 60) : words.every.minute(minutes);
}

/** `12,345` */
export const grouped = (count: number, digits?: number) => count.toLocaleString(words.language, digits === undefined ? undefined : { maximumFractionDigits: digits });

/** `1 server`, `2 servers` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

export const percent = (part: number, whole: number) => (whole <= 0 ? 0 : Math.min(100, Math.max(0, (100 * part) / whole)));
