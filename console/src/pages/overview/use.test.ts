import { describe, expect, it } from 'vitest';
import type { DescribeStoreResponse, StoreUsePoint } from '../../api/generated/shapes';
import { areasOf, partsNow, PARTS, partsThen, requestOf, rowsOf, scaleOf, within } from './use';

const NOW = 1_795_000_000;

function point(ago: number, parts: Partial<StoreUsePoint> = {}): StoreUsePoint {
  const all = { liveBytes: 0, deadBytes: 0, stagedBytes: 0, toFreeBytes: 0, ...parts };
  return { at: NOW - ago, packs: 1, bytes: all.liveBytes + all.deadBytes + all.stagedBytes + all.toFreeBytes, ...all };
}

const sum = (parts: Record<string, number>) => Object.values(parts).reduce((all, each) => all + each, 0);

describe('the parts of the store', () => {
  it('add up to all of it, now and then', () => {
    const count = (bytes: number) => ({ packs: 1, bytes });
    const content = {
      all: count(1 + 2 + 4 + 8 + 16 + 32 + 64), named: count(3), deadBytes: 2, staged: count(4), waiting: count(8), doubtful: count(16),
      released: count(32), expired: count(64), expiredStaged: count(4),
    };
    const parts = partsNow({ content } as unknown as DescribeStoreResponse);
    expect(parts).toEqual({ live: 1, dead: 2, staged: 28, free: 96 });
    expect(sum(parts)).toBe(content.all.bytes);
    const then = point(0, { liveBytes: 1, deadBytes: 2, stagedBytes: 4, toFreeBytes: 8 });
    expect(sum(partsThen(then))).toBe(then.bytes);
  });
});

describe('the use over time', () => {
  it('is asked for from a whole hour on, and shown from the span on', () => {
    expect(requestOf('day', NOW)).toEqual({ from: Math.floor(NOW / 3_600) * 3_600 - 86_400, maxPoints: 240 });
    expect(requestOf('day', NOW)).toEqual(requestOf('day', NOW + 60));
    expect(requestOf('all', NOW)).toEqual({ maxPoints: 240 });
    const points = [point(40 * 86_400), point(86_401), point(86_400), point(0)];
    expect(within(points, 'day', NOW)).toHaveLength(2);
    expect(within(points, 'month', NOW)).toHaveLength(3);
    expect(within(points, 'all', NOW)).toHaveLength(4);
  });
  it('has a unit in which the numbers are round', () => {
    const unit = (bytes: number) => scaleOf([point(0, { liveBytes: bytes })]).unit;
    expect([0, 1, 1023, 1024, 2 ** 20, 2 ** 40, 2 ** 63].map(unit)).toEqual(['B', 'B', 'B', 'KiB', 'MiB', 'TiB', 'PiB']);
    expect(scaleOf([]).factor).toBe(1);
  });
  it('is drawn in areas that all have the same moments', () => {
    const points = [point(60, { liveBytes: 2048, toFreeBytes: 1024 }), point(0, { stagedBytes: 512 })];
    const areas = areasOf(points, scaleOf(points));
    expect(areas.map((area) => area.part)).toEqual([...PARTS]);
    expect(areas.map((area) => area.points.map((each) => each.y))).toEqual([[2, 0], [0, 0], [0, 0.5], [1, 0]]);
    expect(new Set(areas.map((area) => area.points.map((each) => each.x.getTime()).join())).size).toBe(1);
  });
  it('has figures to read, the newest first, with both ends', () => {
    const points = Array.from({ length: 101 }, (_, n) => point(100 - n));
    expect(rowsOf(points, 5).map((each) => NOW - each.at)).toEqual([0, 25, 50, 75, 100]);
    expect(rowsOf(points.slice(0, 3), 5).map((each) => NOW - each.at)).toEqual([98, 99, 100]);
    expect(rowsOf([], 5)).toEqual([]);
  });
});
