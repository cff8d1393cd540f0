import { describe, expect, it } from 'vitest';
import type { ConnectorDescription, JobDescription, RunDescription, SnapshotDescription } from '../../api/generated/shapes';
import { attention } from './attention';
import { growth, lanes, lastDay, seriesOf, throughput } from './series';
import { step, stop } from './walk';

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

describe('the timeline by the keyboard', () => {
  const bar = (jobId: string, id: string, ago: number) => run({ replicationJobId: jobId, replicationRunId: id, startedOn: NOW - ago, completedTime: NOW - ago + 60 });
  // As the service lists them: the newest first.
  const drawn = lanes([bar('a', 'a3', 100), bar('a', 'a2', 30_000), bar('a', 'a1', 60_000), bar('b', 'b2', 20_000), bar('b', 'b1', 50_000), bar('c', 'c1', 70_000)], NOW, 10);
  const walk = (from: string, ...keys: string[]) => keys.reduce((at, key) => step(drawn, at, key) ?? at, from);

  it('has one stop for the tab key, which stays where somebody was', () => {
    expect(stop(drawn, undefined)).toBe('a1');
    expect(stop(drawn, 'b2')).toBe('b2');
    expect(stop(drawn, 'gone')).toBe('a1');
    expect(stop([], 'a1')).toBeUndefined();
  });
  it('goes along a job in the order of time, and to its ends', () => {
    expect(walk('a1', 'ArrowRight')).toBe('a2');
    expect(walk('a1', 'ArrowRight', 'ArrowRight', 'ArrowLeft')).toBe('a2');
    expect([walk('a1', 'End'), walk('a3', 'Home')]).toEqual(['a3', 'a1']);
  });
  it('goes to what the next job did at about that time', () => {
    expect([walk('a1', 'ArrowDown'), walk('a2', 'ArrowDown'), walk('a3', 'ArrowDown')]).toEqual(['b1', 'b2', 'b2']);
    expect(walk('b2', 'ArrowUp')).toBe('a2');
    expect(walk('a3', 'ArrowDown', 'ArrowDown')).toBe('c1');
  });
  it('goes nowhere beyond the ends, by other keys, or from what is not drawn', () => {
    for (const [from, key] of [['a1', 'ArrowLeft'], ['a3', 'ArrowRight'], ['a1', 'ArrowUp'], ['c1', 'ArrowDown'], ['a1', 'x'], ['gone', 'ArrowRight']] as const) {
      expect(step(drawn, from, key)).toBeUndefined();
    }
  });
  it('reaches every run from the first one', () => {
    const found = new Set(['a1']);
    for (const at of found) for (const key of ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown']) found.add(step(drawn, at, key) ?? at);
    expect(found.size).toBe(6);
  });
});

it('charts have the jobs with the most runs, in the order of time', () => {
  const runs = [run({ completedTime: 20 }), run({ completedTime: 10 }), run({ replicationJobId: 'k' }), run({ state: 'FAILED' })];
  const series = seriesOf(runs, (each) => each.completedTime, 1);
  expect(series.map(({ jobId, points }) => [jobId, points.map((point) => point.y)])).toEqual([['j', [10, 20]]]);
  expect(throughput(run({ volumes: [volume(50e6)] }))).toBe(5);
  expect(throughput(run({ volumes: [volume(5)], completedTime: NOW - 3_600 }))).toBeUndefined();
});

it('the store grows by what each snapshot adds', () => {
  const snapshot = (createdOn: number, mib: number) => ({ createdOn, bytesStored: mib * 2 ** 20 }) as SnapshotDescription;
  expect(growth([snapshot(NOW, 3), snapshot(NOW - 86_400, 1), snapshot(NOW + 1, 1)]).map((point) => point.y)).toEqual([1, 5]);
});
