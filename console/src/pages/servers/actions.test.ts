import { expect, it } from 'vitest';
import type { ServerDescription } from '../../api/generated/shapes';
import { type ServerRow, whyNoJob, whyNoJobs } from './actions';

const server: ServerDescription = {
  serverId: 's-1', name: 'web', path: '/web', managerId: 'm', managerName: 'rack', vmId: 'v', volumes: [{ device: 'vda', size: 1 }],
};
const row = (fields: Partial<ServerDescription>, jobState?: ServerRow['jobState']): ServerRow => ({ server: { ...server, ...fields }, jobState });

it('a server has one live job at most', () => {
  const job = { replicationJobId: 'sms-job-1', replicationJobTerminated: false };
  expect(whyNoJob(row({}))).toBeUndefined();
  expect(whyNoJob(row(job, 'ACTIVE'))).toBe('web is replicated by sms-job-1 already.');
  expect(whyNoJob(row(job, 'COMPLETED'))).toBeUndefined();
  expect(whyNoJob(row({ ...job, replicationJobTerminated: true }, 'DELETING'))).toContain('sms-job-1');
  expect(whyNoJob(row({ ...job, replicationJobTerminated: true }, 'FAILED'))).toBeUndefined();
  expect(whyNoJob(row(job))).toContain('sms-job-1');
});

it('a server that is gone or has no disk cannot be replicated', () => {
  expect(whyNoJob(row({ missingSince: 1 }))).toBe('web is not there any more.');
  expect(whyNoJob(row({ volumes: [] }))).toBe('web has no disk that could be replicated.');
});

it('one that cannot keeps all from it', () => {
  expect(whyNoJobs([])).toBe('Select servers first.');
  expect(whyNoJobs([row({}), row({ volumes: [] })])).toContain('no disk');
  expect(whyNoJobs([row({}), row({ serverId: 's-2' })])).toBeUndefined();
});
