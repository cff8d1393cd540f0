import { describe, expect, it } from 'vitest';
import type { ConnectorDescription, JobDescription, RunDescription } from '../../api/generated/shapes';
import { attention } from './attention';
import { lanes, lastDay, seriesOf, throughput } from './series';

const NOW = 1_795_000_000;

function run(fields: Partial<RunDescription>): RunDescription {
  return {
    replicationRunId: 'r', replicationJobId: 'j', state: 'COMPLETED', type: 'AUTOMATIC', percent: 100, scheduledStartTime: NOW - 3_600,
    startedOn: NOW - 3_600, completedTime: NOW - 3_590, notes: [], volumes: [], ...fields,
  };
}

const volume = (bytesRead: number, bytesStored = 0) => ({
  device: 'vda', bytesTotal: 0, bytesDone: 0, bytesRead, bytesSent: 0, bytesStored, bytesResent: 0, bytesVerified: 0, tracked: true, notes: [],
});

function job(fields: Partial<JobDescription>): JobDescription {
  return {
    replicationJobId: 'j', serverId: 's', serverName: 'web', state: 'ACTIVE', stateSince: 0, seedReplicationTime: 0, runOnce: false, licenseChosen: true,
    roleName: 'sms', recipients: [], pauseOnFailure: true, pauseAfterFailures: 3, failures: 0, createdOn: 0, ...fields,
  };
}

describe('what needs attention', () => {
  it('is nothing when all is well', () => {
    expect(attention({})).toEqual([]);
    expect(attention({ jobs: [job({})], connectors: [], images: [], catalog: 'AVAILABLE', givenUp: [] })).toEqual([]);
  });
  it('is what does not go on by itself, before what does', () => {
    const connector = { connectorId: 'c', name: 'rack', status: 'UNHEALTHY', statusReason: 'no answer' } as ConnectorDescription;
    const failure = { code: 'StoreFull', cause: 'The store has no space left', evidence: '', nextStep: 'free space' };
    const found = attention({
      catalog: 'EXPIRED',
      connectors: [connector],
      jobs: [job({ failures: 1 }), job({ replicationJobId: 'k', state: 'PAUSED_ON_FAILURE', latestRun: run({ state: 'FAILED', failure }) })],
    });
    expect(found.map(({ urgency, id }) => `${urgency} ${id}`)).toEqual(['error k', 'error c', 'warning j', 'warning catalog']);
    expect(found[0]?.why).toBe('The store has no space left. free space');
    expect(found[0]?.to).toBe('/jobs?job=k');
  });
});

it('the last day counts what ended in it and what is at work, and knows what comes next', () => {
  const runs = [
    run({ volumes: [volume(100, 10)] }),
    run({ state: 'FAILED', completedTime: NOW - 90_000 }),
    run({ state: 'ACTIVE', startedOn: NOW - 100_000, completedTime: undefined }),
    run({ state: 'MISSED', startedOn: undefined, completedTime: undefined }),
    run({ state: 'PENDING', startedOn: undefined, completedTime: undefined, scheduledStartTime: NOW + 100 }),
    run({ state: 'PENDING', startedOn: undefined, completedTime: undefined, scheduledStartTime: NOW + 50 }),
  ];
  expect(lastDay(runs, NOW)).toEqual({ completed: 1, active: 1, failed: 0, missed: 1, read: 100, stored: 10, next: NOW + 50 });
});

it('the timeline has a lane for each job, the newest first', () => {
  const runs = [
    run({ replicationJobId: 'old', startedOn: NOW - 80_000, completedTime: NOW - 79_000 }),
    run({ replicationJobId: 'new' }),
    run({ replicationJobId: 'gone', startedOn: NOW - 200_000, completedTime: NOW - 190_000 }),
    run({ replicationJobId: 'far', state: 'PENDING', startedOn: undefined, completedTime: undefined, scheduledStartTime: NOW + 80_000 }),
    run({ replicationJobId: 'new', state: 'PENDING', startedOn: undefined, completedTime: undefined, scheduledStartTime: NOW }),
  ];
  const drawn = lanes(runs, NOW, 10);
  expect(drawn.map((lane) => [lane.jobId, lane.bars.length])).toEqual([['new', 2], ['old', 1]]);
  expect(drawn[0]?.bars[1]?.from).toBeCloseTo(2 / 3);
  expect(lanes(runs, NOW, 1)).toHaveLength(1);
});

it('charts have the jobs with the most runs, in the order of time', () => {
  const runs = [run({ completedTime: 20 }), run({ completedTime: 10 }), run({ replicationJobId: 'k' }), run({ state: 'FAILED' })];
  const series = seriesOf(runs, (each) => each.completedTime, 1);
  expect(series.map(({ jobId, points }) => [jobId, points.map((point) => point.y)])).toEqual([['j', [10, 20]]]);
  expect(throughput(run({ volumes: [volume(50e6)] }))).toBe(5);
  expect(throughput(run({ volumes: [volume(5)], completedTime: NOW - 3_600 }))).toBeUndefined();
});
