import { expect, it } from 'vitest';
import type { JobDescription, RunDescription } from '../../api/generated/shapes';
import { newestBegun } from './newest';

const run = (id: string, startedOn?: number) => ({ replicationRunId: id, ...(startedOn === undefined ? {} : { startedOn }) }) as RunDescription;
const job = (latestRun?: RunDescription) => ({ latestRun }) as JobDescription;

it('the run that is shown is the one that began last, from whichever list knows it', () => {
  expect(newestBegun(job(), [])).toBeUndefined();
  expect(newestBegun(job(run('planned')), [run('planned')])).toBeUndefined();
  expect(newestBegun(job(run('b', 20)), [run('planned'), run('a', 10)])?.replicationRunId).toBe('b');
  expect(newestBegun(job(run('a', 10)), [run('b', 20), run('a', 10)])?.replicationRunId).toBe('b');
});

it('of the same run the one in the list of jobs is newer: it is read more often', () => {
  const fresh = run('a', 10);
  expect(newestBegun(job(fresh), [run('a', 10)])).toBe(fresh);
});
