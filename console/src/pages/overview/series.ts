// From runs to what charts and the timeline draw. Pure.

import type { RunDescription, SnapshotDescription } from '../../api/generated/shapes';
import { sum } from '../../components/names';

export const DAY = 86_400;
export const AHEAD = 12 * 3_600;

export type Counts = { completed: number; active: number; failed: number; missed: number; read: number; stored: number; next: number | undefined };

/** What happened in the last 24 hours. */
export function lastDay(runs: readonly RunDescription[], now: number): Counts {
  const counts: Counts = { completed: 0, active: 0, failed: 0, missed: 0, read: 0, stored: 0, next: undefined };
  for (const run of runs) {
    if (run.state === 'PENDING') {
      if (run.scheduledStartTime > now && (counts.next === undefined || run.scheduledStartTime < counts.next)) counts.next = run.scheduledStartTime;
      continue;
    }
    const at = run.completedTime ?? run.startedOn ?? run.scheduledStartTime;
    if (run.state !== 'ACTIVE' && at < now - DAY) continue;
    if (run.state === 'COMPLETED') counts.completed += 1;
    else if (run.state === 'ACTIVE') counts.active += 1;
    else if (run.state === 'FAILED') counts.failed += 1;
    else if (run.state === 'MISSED') counts.missed += 1;
    counts.read += sum(run, 'bytesRead');
    counts.stored += sum(run, 'bytesStored');
  }
  return counts;
}

/** A run on the timeline, from 0 (a day ago) to 1 (the end of what is to come). */
export type Bar = { run: RunDescription; from: number; to: number };

export type Lane = { jobId: string; bars: Bar[] };

/** Jobs with their runs between a day ago and half a day ahead, in the order of time: those with the newest runs first. */
export function lanes(runs: readonly RunDescription[], now: number, most: number): Lane[] {
  const begin = now - DAY;
  const span = DAY + AHEAD;
  const found = new Map<string, { bars: Bar[]; newest: number }>();
  for (const run of runs) {
    if (run.state === 'DELETED' || run.state === 'DELETING') continue;
    const from = run.startedOn ?? run.scheduledStartTime;
    const to = run.state === 'ACTIVE' ? now : (run.completedTime ?? from);
    if (to < begin || from > begin + span) continue;
    const lane = found.get(run.replicationJobId) ?? { bars: [], newest: 0 };
    lane.bars.push({ run, from: Math.max(0, (from - begin) / span), to: Math.min(1, (to - begin) / span) });
    if (from <= now) lane.newest = Math.max(lane.newest, from);
    found.set(run.replicationJobId, lane);
  }
  return [...found.entries()]
    .sort(([, a], [, b]) => b.newest - a.newest)
    .slice(0, most)
    .map(([jobId, { bars }]) => ({ jobId, bars: bars.sort((a, b) => a.from - b.from || a.to - b.to) }));
}

export type Point = { x: Date; y: number };
export type Series = { jobId: string; points: Point[] };

/** A figure of completed runs over time, for the jobs with the most of them. */
export function seriesOf(runs: readonly RunDescription[], figure: (run: RunDescription) => number | undefined, most: number): Series[] {
  const found = new Map<string, Point[]>();
  for (const run of runs) {
    if (run.state !== 'COMPLETED' || run.completedTime === undefined) continue;
    const y = figure(run);
    if (y === undefined) continue;
    const points = found.get(run.replicationJobId) ?? [];
    points.push({ x: new Date(run.completedTime * 1000), y });
    found.set(run.replicationJobId, points);
  }
  return [...found.entries()]
    .sort(([, a], [, b]) => b.length - a.length)
    .slice(0, most)
    .map(([jobId, points]) => ({ jobId, points: points.sort((a, b) => a.x.getTime() - b.x.getTime()) }));
}

export const changedMiB = (run: RunDescription) => sum(run, 'bytesRead') / 2 ** 20;

/** Megabytes a second over the whole run; nothing of runs that were too short to tell. */
export function throughput(run: RunDescription): number | undefined {
  const seconds = (run.completedTime ?? 0) - (run.startedOn ?? 0);
  const read = sum(run, 'bytesRead');
  return run.startedOn === undefined || seconds < 0.1 || read === 0 ? undefined : read / 1e6 / seconds;
}

/** What the snapshots that are kept have added to the store, up to each day. */
export function growth(snapshots: readonly SnapshotDescription[]): Point[] {
  const days = new Map<number, number>();
  for (const { createdOn, bytesStored } of snapshots) {
    const at = new Date(createdOn * 1000);
    const day = new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
    days.set(day, (days.get(day) ?? 0) + bytesStored);
  }
  let all = 0;
  return [...days.entries()].sort(([a], [b]) => a - b).map(([day, stored]) => ({ x: new Date(day), y: (all += stored) / 2 ** 20 }));
}
