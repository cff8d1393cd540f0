// What the store holds, in parts that do not overlap, and how that went over time. Pure.

import type { DescribeStoreResponse, StoreUsePoint } from '../../api/generated/shapes';
import { DAY } from './series';

export const PARTS = ['live', 'dead', 'staged', 'free'] as const;
export type Part = (typeof PARTS)[number];

export const COLOURS: Record<Part, string> = { live: '#0972d3', dead: '#8793a5', staged: '#b88300', free: '#c2410c' };

/** How far back is looked, in seconds; nothing where there is no bound. */
export const SPANS = { day: DAY, week: 7 * DAY, month: 30 * DAY, all: undefined } as const;
export type Span = keyof typeof SPANS;

/** Points that are asked for: as many as the chart has room for. */
export const MOST = 240;

const HOUR = 3_600;

/** The parts of what is there now. */
export function partsNow({ content }: DescribeStoreResponse): Record<Part, number> {
  return {
    live: Math.max(0, content.named.bytes - content.deadBytes),
    dead: content.deadBytes,
    staged: content.staged.bytes + content.waiting.bytes + content.doubtful.bytes,
    free: content.released.bytes + content.expired.bytes,
  };
}

/** The parts of what was there then. */
export const partsThen = (point: StoreUsePoint): Record<Part, number> => ({
  live: point.liveBytes, dead: point.deadBytes, staged: point.stagedBytes, free: point.toFreeBytes,
});

/** What is asked for. Whole hours, so that who looks again soon asks for the same. */
export function requestOf(span: Span, now: number): { from?: number; maxPoints: number } {
  const seconds = SPANS[span];
  return { ...(seconds === undefined ? {} : { from: Math.floor(now / HOUR) * HOUR - seconds }), maxPoints: MOST };
}

/** The points of the last so many seconds: what was asked for a while ago may begin earlier. */
export function within(points: readonly StoreUsePoint[], span: Span, now: number): StoreUsePoint[] {
  const seconds = SPANS[span];
  return points.filter((point) => seconds === undefined || point.at >= now - seconds);
}

export type Scale = { unit: string; factor: number };

/** The largest unit in which the largest number is at least one: axes want round numbers of it. */
export function scaleOf(points: readonly StoreUsePoint[]): Scale {
  const most = Math.max(0, ...points.map((point) => point.bytes));
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const n = most < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(most) / 10));
  return { unit: units[n] ?? 'B', factor: 1024 ** n };
}

export type Area = { part: Part; points: { x: Date; y: number }[] };

/** The areas of the chart from below, each with all points: they are drawn on top of each other. */
export function areasOf(points: readonly StoreUsePoint[], { factor }: Scale): Area[] {
  return PARTS.map((part) => ({
    part,
    points: points.map((point) => ({ x: new Date(point.at * 1000), y: partsThen(point)[part] / factor })),
  }));
}

/** So many of the points, newest first, with both ends: for whoever reads figures instead of a chart. */
export function rowsOf(points: readonly StoreUsePoint[], most: number): StoreUsePoint[] {
  const last = points.length - 1;
  const shown = points.length <= most ? [...points] : Array.from({ length: most }, (_, n) => points[Math.floor((n * last) / (most - 1))]).filter((point) => point !== undefined);
  return shown.reverse();
}
