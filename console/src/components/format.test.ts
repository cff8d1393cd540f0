import { describe, expect, it } from 'vitest';
import { absolute, bytes, duration, grouped, interval, plural, rate, relative, short, zoneName } from './format';

describe('sizes', () => {
  it('have three digits and the unit in which they are read easily', () => {
    expect([0, 1, 1023, 1024, 1536, 10 * 1024 ** 2, 1.25 * 1024 ** 3].map(bytes)).toEqual([
      '0 B', '1 B', '1023 B', '1 KiB', '1.5 KiB', '10 MiB', '1.25 GiB',
    ]);
    expect(bytes(1024 ** 2 - 1)).toBe('1 MiB');
    expect(bytes(undefined)).toBe('–');
  });
  it('have paces in megabytes a second', () => {
    expect([64_600_000, 123_456_789].map(rate)).toEqual(['64.6 MB/s', '123 MB/s']);
  });
});

describe('times', () => {
  it('are relative to the clock that they were made with', () => {
    const now = 1_000_000;
    expect(relative(now - 2, now)).toBe('just now');
    expect(relative(now + 2, now)).toBe('in a moment');
    expect(relative(now + 1.7, now)).toBe('just now');
    expect(relative(now - 90, now)).toBe('1 minute ago');
    expect(relative(now + 7_300, now)).toBe('in 2 hours');
    expect(relative(now - 3 * 86_400, now)).toBe('3 days ago');
  });
  it('never round up: what is 59.9 minutes ago is not an hour ago', () => {
    expect(relative(0, 3_599)).toBe('59 minutes ago');
  });
  it('are absolute in the zone of the browser, which is named', () => {
    expect(absolute(1_795_407_861)).toMatch(/^23 Nov 2026, \d\d:\d\d:\d\d (CET|GMT\+1)$/);
  });
  it('are in a zone that is named with its offset then, in winter and in summer', () => {
    expect(zoneName(Date.UTC(2026, 0, 15) / 1000)).toBe('Europe/Berlin, GMT+1');
    expect(zoneName(Date.UTC(2026, 6, 15) / 1000)).toBe('Europe/Berlin, GMT+2');
  });
  it('have a day and a minute where there is little room', () => {
    expect(short(Date.UTC(2026, 0, 5, 8, 9, 59) / 1000)).toBe('5 Jan, 09:09');
  });
  it('last for their two largest units', () => {
    expect([0, 0.4, 59.4, 61, 3_600, 7_500, 90_000].map(duration)).toEqual([
      '0 s', '< 1 s', '59 s', '1 min 1 s', '1 h', '2 h 5 min', '1 d 1 h',
    ]);
  });
  it('repeat in the largest unit that fits', () => {
    expect([60, 720, 90, 1440, 2880].map(interval)).toEqual([
      'every hour', 'every 12 hours', 'every 90 minutes', 'every day', 'every 2 days',
    ]);
  });
});

it('numbers have their thousands apart', () => {
  expect([grouped(999), grouped(12_345), grouped(1.2345, 2), grouped(1234.5)]).toEqual(['999', '12,345', '1.23', '1,234.5']);
});

it('one is one and all else is many', () => {
  expect([plural(1, 'job'), plural(0, 'job'), plural(12_345, 'job')]).toEqual(['1 job', '0 jobs', '12,345 jobs']);
});
