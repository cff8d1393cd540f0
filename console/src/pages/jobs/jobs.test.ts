import { describe, expect, it } from 'vitest';
import type { JobDescription, ReplicationJobState, RunDescription } from '../../api/generated/shapes';
import { possible, whyNot, whyNotAny } from './actions';
import { isInMotion, merged, toRefresh } from './query';

const NOW = 1_000_000;

function run(id: string, fields: Partial<RunDescription> = {}): RunDescription {
  return {
    replicationRunId: id, replicationJobId: 'sms-job-1', state: 'COMPLETED', type: 'AUTOMATIC', percent: 100,
    scheduledStartTime: NOW - 500_000, notes: [], volumes: [], ...fields,
  };
}

function job(state: ReplicationJobState, fields: Partial<JobDescription> = {}): JobDescription {
  return {
    replicationJobId: 'sms-job-1', serverId: 's-1', serverName: 'web', state, stateSince: 0, seedReplicationTime: 0,
    runOnce: false, licenseChosen: true, roleName: 'sms', recipients: [], pauseOnFailure: true, pauseAfterFailures: 3,
    failures: 0, createdOn: 0, ...fields,
  };
}

const ALL: ReplicationJobState[] = ['PENDING', 'ACTIVE', 'FAILED', 'DELETING', 'DELETED', 'COMPLETED', 'PAUSED_ON_FAILURE', 'FAILING'];
const allowing = (action: 'start' | 'resume' | 'edit' | 'delete') => ALL.filter((state) => whyNot(action, job(state), [], NOW) === undefined);

describe('what can be done with a job', () => {
  it('follows its state', () => {
    expect(allowing('start')).toEqual(['PENDING', 'ACTIVE']);
    expect(allowing('resume')).toEqual(['PAUSED_ON_FAILURE']);
    expect(allowing('edit')).toEqual(['PENDING', 'ACTIVE', 'PAUSED_ON_FAILURE']);
    expect(allowing('delete')).toEqual(['PENDING', 'ACTIVE', 'FAILED', 'COMPLETED', 'PAUSED_ON_FAILURE', 'FAILING']);
  });

  it('starts no run while one is at work or due', () => {
    const refusal = (latestRun: RunDescription) => whyNot('start', job('ACTIVE', { latestRun }), [], NOW);
    expect(refusal(run('sms-run-1', { state: 'ACTIVE' }))).toContain('sms-run-1 is at work');
    expect(refusal(run('sms-run-1', { state: 'PENDING', scheduledStartTime: NOW - 1 }))).toContain('sms-run-1');
    expect(refusal(run('sms-run-1', { state: 'PENDING', scheduledStartTime: NOW + 60 }))).toBeUndefined();
    expect(refusal(run('sms-run-1', { state: 'FAILED' }))).toBeUndefined();
  });

  it('has two runs on demand in 24 hours, and says when the next is possible', () => {
    const demanded = (ago: number) => run(`r-${ago}`, { type: 'ON_DEMAND', scheduledStartTime: NOW - ago });
    expect(whyNot('start', job('ACTIVE'), [demanded(100)], NOW)).toBeUndefined();
    expect(whyNot('start', job('ACTIVE'), [demanded(100), demanded(86_500)], NOW)).toBeUndefined();
    expect(whyNot('start', job('ACTIVE'), [demanded(100), demanded(3_600)], NOW)).toContain('in 23 hours');
    expect(whyNot('start', job('ACTIVE'), [demanded(100), demanded(3_600), demanded(7_200)], NOW)).toContain('in 23 hours');
  });

  it('is done with those of many for which it can be', () => {
    const selected = [job('ACTIVE'), job('PAUSED_ON_FAILURE', { replicationJobId: 'sms-job-2' }), job('DELETED')];
    expect(whyNotAny('resume', selected, [], NOW)).toBeUndefined();
    expect(possible('resume', selected, [], NOW).map((each) => each.replicationJobId)).toEqual(['sms-job-2']);
    expect(whyNotAny('resume', [job('ACTIVE'), job('DELETED')], [], NOW)).toContain('only a job that is paused');
    expect(whyNotAny('edit', selected, [], NOW)).toBe('Select one job only.');
    expect(whyNotAny('start', [], [], NOW)).toBe('Select jobs first.');
  });
});

describe('ten thousand jobs', () => {
  const many = Array.from({ length: 10_000 }, (_, n) => job('ACTIVE', { replicationJobId: `sms-job-${n}`, nextReplicationRunStartTime: NOW + 9_999 }));

  it('are not all asked for: what is on the screen and what is in motion is', () => {
    const jobs = [...many];
    jobs[7] = job('ACTIVE', { replicationJobId: 'sms-job-7', latestRun: run('r', { state: 'ACTIVE' }) });
    expect(toRefresh(jobs, ['sms-job-3', 'unknown'], NOW)).toEqual(['sms-job-3', 'sms-job-7']);
    expect(toRefresh(jobs, jobs.map((each) => each.replicationJobId), NOW)).toHaveLength(100);
  });

  it('are in motion when something is about to happen to them', () => {
    const due = (nextReplicationRunStartTime: number) => isInMotion(job('ACTIVE', { nextReplicationRunStartTime }), NOW);
    expect([due(NOW - 1), due(NOW + 3_600)]).toEqual([true, false]);
    expect(ALL.filter((state) => isInMotion(job(state), NOW))).toEqual(['PENDING', 'DELETING', 'FAILING']);
  });

  it('keep their order, and new ones come first', () => {
    const previous = [job('ACTIVE', { replicationJobId: 'b' }), job('ACTIVE', { replicationJobId: 'a' })];
    const fresh = [job('PENDING', { replicationJobId: 'c' }), job('DELETING', { replicationJobId: 'a' })];
    expect(merged(previous, fresh).map((each) => `${each.replicationJobId} ${each.state}`)).toEqual(['c PENDING', 'b ACTIVE', 'a DELETING']);
  });
});
