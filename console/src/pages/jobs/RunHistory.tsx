// Every run of a job: how long, how much had changed, what came out, why it failed and what to do.

import Box from '@cloudscape-design/components/box';
import Modal from '@cloudscape-design/components/modal';
import Button from '@cloudscape-design/components/button';
import { useState } from 'react';
import type { JobDescription, RunDescription } from '../../api/generated/shapes';
import { bytes, duration } from '../../components/format';
import { displayCase, runSeconds, sum } from '../../components/names';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { RunState } from '../../components/Status';
import { When } from '../../components/When';
import { useParameter } from '../../routes/router';
import { serverNow } from '../../state/clock';
import type { Result } from '../../state/query';
import { common } from '../../strings/common';
import { jobs } from '../../strings/jobs';
import { RunDetails } from './RunDetails';

const t = jobs.run;

function columns(open: (run: RunDescription) => void): Column<RunDescription>[] {
  return [
    {
      id: 'id', header: t.id, value: (run) => run.replicationRunId, width: 170,
      cell: (run) => <Button variant="inline-link" onClick={() => open(run)}>{run.replicationRunId}</Button>,
    },
    { id: 'state', header: t.state, value: (run) => displayCase(run.state), cell: (run) => <RunState state={run.state} />, width: 150 },
    { id: 'scheduled', header: t.scheduled, value: (run) => run.scheduledStartTime, cell: (run) => <When time={run.scheduledStartTime} />, width: 150 },
    { id: 'duration', header: t.duration, value: (run) => runSeconds(run, serverNow()) ?? -1, cell: (run) => duration(runSeconds(run, serverNow())), width: 120 },
    { id: 'changed', header: t.changed, value: (run) => sum(run, 'bytesRead'), cell: (run) => (run.startedOn === undefined ? '–' : bytes(sum(run, 'bytesRead'))), width: 120 },
    { id: 'stored', header: t.stored, value: (run) => sum(run, 'bytesStored'), cell: (run) => (run.startedOn === undefined ? '–' : bytes(sum(run, 'bytesStored'))), width: 110 },
    { id: 'image', header: t.image, value: (run) => run.imageId, width: 210 },
    {
      id: 'failure', header: t.failure, value: (run) => run.failure?.code, width: 340,
      cell: (run) => run.failure ? <><strong>{run.failure.code}</strong>: {run.failure.cause}. <Box variant="small">{t.nextStep}: {run.failure.nextStep}</Box></> : '–',
    },
    { id: 'type', header: t.type, value: (run) => (run.type === 'ON_DEMAND' ? t.onDemand : t.automatic), width: 120 },
  ];
}

export function RunHistory({ job, runs }: { job: JobDescription; runs: Result<RunDescription[]> }) {
  // In the address, so that other pages can lead to a run.
  const [opened, setOpened] = useParameter('run');
  const [definitions] = useState(() => columns((run) => setOpened(run.replicationRunId)));
  const run = runs.data?.find((each) => each.replicationRunId === opened);
  return (
    <>
      <ResourceTable
        name="runs"
        title={jobs.panel.history}
        headerVariant="h3"
        words={t.words}
        result={runs}
        columns={definitions}
        keyOf={runKey}
        variant="embedded"
        filtered={false}
        pageSize={20}
        sort={{ column: 'scheduled', descending: true }}
        empty={<Empty title={t.noRuns} hint={t.noRunsHint} />}
      />
      {run ? (
        <Modal visible size="max" header={`${run.replicationRunId} – ${job.serverName}`} onDismiss={() => setOpened('')} closeAriaLabel={common.close}>
          <RunDetails run={run} />
        </Modal>
      ) : null}
    </>
  );
}

const runKey = (run: RunDescription) => run.replicationRunId;
