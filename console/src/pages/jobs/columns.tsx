// Columns of the table of jobs.

import type { JobDescription } from '../../api/generated/shapes';
import { interval, rate } from '../../components/format';
import { Go } from '../../components/Go';
import { Id } from '../../components/Id';
import { Meter } from '../../components/Meter';
import { displayCase } from '../../components/names';
import type { Column } from '../../components/ResourceTable';
import { JobState, RunState } from '../../components/Status';
import { When } from '../../components/When';
import { jobs as t } from '../../strings/jobs';

const active = (job: JobDescription) => (job.latestRun?.state === 'ACTIVE' ? job.latestRun : undefined);

export const jobColumns: readonly Column<JobDescription>[] = [
  { id: 'server', header: t.columns.server, value: (job) => job.serverName, width: 150 },
  {
    id: 'state', header: t.columns.state, value: (job) => displayCase(job.state), width: 165,
    cell: (job) => <JobState state={job.state} />,
  },
  {
    id: 'run', header: t.columns.run, value: (job) => (active(job) ? active(job)?.stage : job.latestRun && displayCase(job.latestRun.state)), width: 150,
    cell: (job) => (active(job)?.stage ? active(job)?.stage : job.latestRun ? <RunState state={job.latestRun.state} /> : '–'),
  },
  {
    id: 'progress', header: t.columns.progress, value: (job) => active(job)?.percent ?? -1, unfiltered: true, width: 140,
    cell: (job) => {
      const run = active(job);
      return run ? <Meter value={run.percent} label={`${t.columns.progress}: ${job.serverName}`} /> : '–';
    },
  },
  { id: 'pace', header: t.columns.pace, value: (job) => active(job)?.bytesPerSecond ?? -1, unfiltered: true, width: 100, cell: (job) => rate(active(job)?.bytesPerSecond) },
  {
    id: 'next', header: t.columns.next, value: (job) => job.nextReplicationRunStartTime ?? Infinity, unfiltered: true, width: 220,
    cell: (job) => <When time={job.nextReplicationRunStartTime} both="short" />,
  },
  {
    id: 'interval', header: t.columns.interval, value: (job) => (job.intervalMinutes === undefined ? t.once : interval(job.intervalMinutes)), width: 140,
  },
  {
    id: 'image', header: t.columns.image, value: (job) => job.latestImageId, width: 220,
    cell: (job) => (job.latestImageId ? <Go to={`/images?filter=${encodeURIComponent(`Image = ${job.latestImageId}`)}`}>{job.latestImageId}</Go> : '–'),
  },
  { id: 'failures', header: t.columns.failures, value: (job) => job.failures, unfiltered: true, hidden: true, width: 140 },
  { id: 'description', header: t.columns.description, value: (job) => job.description, width: 200, hidden: true },
  { id: 'id', header: t.columns.id, value: (job) => job.replicationJobId, width: 180, cell: (job) => <Id id={job.replicationJobId} what={t.columns.id} /> },
  { id: 'licence', header: t.columns.licence, value: (job) => job.licenseType, hidden: true, width: 100 },
  { id: 'role', header: t.columns.role, value: (job) => job.roleName, hidden: true, width: 140 },
  { id: 'stateSince', header: t.columns.stateSince, value: (job) => job.stateSince, unfiltered: true, hidden: true, width: 140, cell: (job) => <When time={job.stateSince} /> },
  { id: 'created', header: t.columns.created, value: (job) => job.createdOn, unfiltered: true, hidden: true, width: 140, cell: (job) => <When time={job.createdOn} /> },
  { id: 'message', header: t.columns.message, value: (job) => job.statusMessage, hidden: true, width: 300 },
];
