// What can be done with a job at this moment, and why not. The service decides; this only keeps people from asking for
// what it would refuse. Pure.

import type { JobDescription, RunDescription } from '../../api/generated/shapes';
import { displayCase } from '../../components/names';
import { relative } from '../../components/format';
import { jobs as t } from '../../strings/jobs';

export type JobAction = 'start' | 'resume' | 'edit' | 'delete';

/** Runs on demand that a job can have within a day. */
const ON_DEMAND_LIMIT = 2;
const DAY = 86_400;

/** Why a run cannot be started; nothing if it can. `runs`: those that are known of the job. */
export function whyNotStart(job: JobDescription, runs: readonly RunDescription[], now: number): string | undefined {
  const id = job.replicationJobId;
  if (job.state === 'PAUSED_ON_FAILURE') return t.reasons.paused(id);
  if (job.state !== 'PENDING' && job.state !== 'ACTIVE') return t.reasons.over(id, displayCase(job.state));
  const known = job.latestRun ? [job.latestRun, ...runs] : runs;
  const atWork = known.find(
    (run) =>
      run.state === 'ACTIVE' ||
      run.state === 'DELETING' ||
      (run.state === 'PENDING' && (run.type === 'ON_DEMAND' || run.scheduledStartTime <= now)),
  );
  if (atWork) return t.reasons.active(atWork.replicationRunId);
  const recent = runs
    .filter((run) => run.type === 'ON_DEMAND' && run.scheduledStartTime > now - DAY)
    .map((run) => run.scheduledStartTime)
    .sort((a, b) => a - b);
  const first = recent.at(-ON_DEMAND_LIMIT);
  return recent.length < ON_DEMAND_LIMIT || first === undefined ? undefined : t.reasons.limit(relative(first + DAY, now));
}

export function whyNot(action: JobAction, job: JobDescription, runs: readonly RunDescription[], now: number): string | undefined {
  const id = job.replicationJobId;
  const state = displayCase(job.state);
  switch (action) {
    case 'start':
      return whyNotStart(job, runs, now);
    case 'resume':
      return job.state === 'PAUSED_ON_FAILURE' ? undefined : t.reasons.notPaused(id, state);
    case 'edit':
      return ['FAILING', 'FAILED', 'DELETING', 'DELETED', 'COMPLETED'].includes(job.state) ? t.reasons.ended(id, state) : undefined;
    case 'delete':
      return job.state === 'DELETING' || job.state === 'DELETED' ? t.reasons.deleted(id, state) : undefined;
  }
}

/** The same for all that are selected: possible if it is for one of them. Editing is for one job alone. */
export function whyNotAny(
  action: JobAction,
  selected: readonly JobDescription[],
  runs: readonly RunDescription[],
  now: number,
): string | undefined {
  const [first] = selected;
  if (!first) return t.selectOne;
  if (selected.length === 1) return whyNot(action, first, runs, now);
  if (action === 'edit') return t.oneOnly;
  const reasons = selected.map((job) => whyNot(action, job, [], now));
  return reasons.some((reason) => reason === undefined) ? undefined : reasons[0];
}

/** Those of the selected jobs with which it can be done. */
export function possible(action: JobAction, selected: readonly JobDescription[], runs: readonly RunDescription[], now: number) {
  return selected.filter((job) => whyNot(action, job, selected.length === 1 ? runs : [], now) === undefined);
}
