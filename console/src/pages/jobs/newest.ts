// Which run of a job is shown. Pure.

import type { JobDescription, RunDescription } from '../../api/generated/shapes';

/** The run at work, or else the one that began last; the newest of what both lists know. */
export function newestBegun(job: JobDescription, runs: readonly RunDescription[]): RunDescription | undefined {
  const begun = runs.filter((run) => run.startedOn !== undefined);
  const latest = job.latestRun?.startedOn === undefined ? undefined : job.latestRun;
  const [first] = [...begun].sort((a, b) => (b.startedOn ?? 0) - (a.startedOn ?? 0));
  if (!first || !latest) return first ?? latest;
  return (latest.startedOn ?? 0) >= (first.startedOn ?? 0) ? latest : first;
}
