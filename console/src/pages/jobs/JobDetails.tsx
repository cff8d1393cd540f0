// What a job is set to, and what its run does now.

import ColumnLayout from '@cloudscape-design/components/column-layout';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import Header from '@cloudscape-design/components/header';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Box from '@cloudscape-design/components/box';
import type { JobDescription, RunDescription } from '../../api/generated/shapes';
import { interval } from '../../components/format';
import { Go } from '../../components/Go';
import { JobState } from '../../components/Status';
import { When } from '../../components/When';
import type { Result } from '../../state/query';
import { jobs as t } from '../../strings/jobs';
import { newestBegun } from './newest';
import { RunDetails } from './RunDetails';

export function JobDetails({ job, runs }: { job: JobDescription; runs: Result<RunDescription[]> }) {
  const newest = newestBegun(job, runs.data ?? []);
  return (
    <SpaceBetween size="l">
      <SpaceBetween size="s">
        <Header variant="h3">{newest?.state === 'ACTIVE' ? t.details.currentRun : t.details.lastRun}</Header>
        {newest ? <RunDetails run={newest} /> : <Box color="text-body-secondary">{t.details.noRun}</Box>}
      </SpaceBetween>
      <SpaceBetween size="s">
        <Header variant="h3">{t.panel.settings}</Header>
        <Settings job={job} />
      </SpaceBetween>
    </SpaceBetween>
  );
}

function Settings({ job }: { job: JobDescription }) {
  const d = t.details;
  const images = `/images?filter=${encodeURIComponent(`Job = ${job.replicationJobId}`)}`;
  return (
    <ColumnLayout columns={1}>
      <KeyValuePairs
        columns={4}
        items={[
          { label: d.state, value: <><JobState state={job.state} /> <Box variant="small">{d.stateSince} <When time={job.stateSince} /></Box></> },
          { label: d.next, value: <When time={job.nextReplicationRunStartTime} both /> },
          { label: d.image, value: job.latestImageId ? <>{job.latestImageId} <Go to={images}>{d.images}</Go></> : '–' },
          { label: d.schedule, value: job.intervalMinutes === undefined ? t.once : interval(job.intervalMinutes) },
          { label: d.licence, value: job.licenseType ? `${job.licenseType}${job.licenseChosen ? `, ${d.chosen}` : ''}` : d.licenceLater },
          { label: d.role, value: job.roleName },
          { label: d.keep, value: job.numberOfRecentAmisToKeep ? String(job.numberOfRecentAmisToKeep) : d.keepAll },
          { label: d.encryption, value: job.kmsKeyId ?? d.defaultKey },
          { label: d.recipients, value: job.recipients.length === 0 ? '–' : job.recipients.join(', ') },
          { label: d.pause, value: job.pauseOnFailure ? d.pauseAfter(job.pauseAfterFailures) : d.noPause },
          { label: d.failures, value: String(job.failures) },
          { label: d.cap, value: job.bandwidthCap ?? d.noCap },
          { label: d.server, value: `${job.serverName} (${job.serverId})` },
          { label: d.created, value: <When time={job.createdOn} /> },
          { label: d.description, value: job.description ?? '–' },
          { label: d.message, value: job.statusMessage ?? '–' },
        ]}
      />
    </ColumnLayout>
  );
}
