// All jobs, kept up to date without reading ten thousand of them for every event.
//
// Up to a few pages everything is read each time. Beyond that only what can have changed is: what is in motion, what is
// on the screen, and what is new. Everything is read again once in a while.

import { call, listAll } from '../../api/client';
import type { JobDescription } from '../../api/generated/shapes';
import type { Kind } from '../../api/session';
import type { Query } from '../../state/cache';
import { serverNow } from '../../state/clock';

/** The service gives so many jobs at a time at most. */
export const PAGE = 100;

/** Up to so many jobs, all are read each time. */
const FEW = 300;

/** Milliseconds after which all are read again, however many they are. */
const WHOLE = 60_000;

const KINDS: readonly Kind[] = ['jobs', 'runs', 'progress'];

/** Jobs on the screen, whose state somebody looks at. */
let onScreen: readonly string[] = [];

export function showsJobs(ids: readonly string[]): void {
  onScreen = ids;
}

/** Whether a job may change by itself at this moment. */
export function isInMotion(job: JobDescription, now: number): boolean {
  if (job.state === 'DELETING' || job.state === 'FAILING' || job.state === 'PENDING') return true;
  if (job.latestRun?.state === 'ACTIVE' || job.latestRun?.state === 'DELETING') return true;
  return job.state === 'ACTIVE' && (job.nextReplicationRunStartTime ?? Infinity) <= now + 5;
}

/** Jobs to ask for by their ids: `changed` says what for. */
export function toRefresh(jobs: readonly JobDescription[], screen: readonly string[], now: number): string[] {
  const ids = new Set(screen);
  for (const job of jobs) if (isInMotion(job, now)) ids.add(job.replicationJobId);
  const known = new Set(jobs.map((job) => job.replicationJobId));
  return [...ids].filter((id) => known.has(id)).slice(0, PAGE);
}

/** What was known with what was read anew in its place; unknown ones in front, as new jobs come first. */
export function merged(previous: readonly JobDescription[], fresh: readonly JobDescription[]): JobDescription[] {
  const byId = new Map(fresh.map((job) => [job.replicationJobId, job]));
  const all = previous.map((job) => {
    const newer = byId.get(job.replicationJobId);
    byId.delete(job.replicationJobId);
    return newer ?? job;
  });
  return [...byId.values(), ...all];
}

let wholeAt = 0;

export const jobsQuery: Query<JobDescription[]> = {
  key: 'jobs',
  kinds: KINDS,
  read: async (background, previous, changed) => {
    const options = { background };
    if (previous && changed && previous.length > FEW && Date.now() - wholeAt < WHOLE) {
      const ids = toRefresh(previous, onScreen, serverNow());
      const named = ids.length === 0 ? [] : (await call('godwit:DescribeReplicationJobs', { replicationJobIds: ids }, options)).jobs;
      const newest = changed.has('jobs') ? (await call('godwit:DescribeReplicationJobs', { maxResults: PAGE }, options)).jobs : [];
      return merged(previous, [...newest, ...named]);
    }
    const jobs = await listAll('godwit:DescribeReplicationJobs', { maxResults: PAGE }, (answer) => answer.jobs, options);
    wholeAt = Date.now();
    return jobs;
  },
};
