// A run: stage by stage, volume by volume, what holds it back, why it failed and what to do.

import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import ProgressBar from '@cloudscape-design/components/progress-bar';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Steps from '@cloudscape-design/components/steps';
import Table from '@cloudscape-design/components/table';
import { useState } from 'react';
import { call } from '../../api/client';
import type { RunDescription, RunVolumeDescription } from '../../api/generated/shapes';
import { bytes, duration, percent, rate } from '../../components/format';
import { FormModal } from '../../components/FormModal';
import { Id } from '../../components/Id';
import { Meter } from '../../components/Meter';
import { consistencyName, runSeconds, STAGES, sum } from '../../components/names';
import { RunState } from '../../components/Status';
import { Since, When } from '../../components/When';
import { cache } from '../../state/cache';
import { serverNow } from '../../state/clock';
import { tellSuccess } from '../../state/messages';
import { useAllows } from '../../state/session';
import { common } from '../../strings/common';
import { jobs } from '../../strings/jobs';

const t = jobs.run;

export function RunDetails({ run }: { run: RunDescription }) {
  const active = run.state === 'ACTIVE';
  return (
    <SpaceBetween size="m">
      {run.failure ? (
        <Alert type="error" header={t.failed(run.failure.code)}>
          <SpaceBetween size="xxs">
            <div>{run.failure.cause}.</div>
            <div><strong>{t.evidence}:</strong> {run.failure.evidence}</div>
            <div><strong>{t.nextStep}:</strong> {run.failure.nextStep}</div>
          </SpaceBetween>
        </Alert>
      ) : null}
      {run.retryingAfter ? <Alert type="warning" header={t.retrying}>{run.retryingAfter}</Alert> : null}
      {active ? (
        <ProgressBar
          value={Math.floor(run.percent)}
          label={run.stage ?? t.progress}
          description={run.heldBackBy ? `${t.heldBack} ${t.held[run.heldBackBy] ?? run.heldBackBy}` : undefined}
          additionalInfo={[rate(run.bytesPerSecond), run.secondsLeft === undefined ? '' : `${t.left}: ${duration(run.secondsLeft)}`].filter((text) => text !== '' && text !== '–').join(' · ')}
        />
      ) : null}
      <RunStages run={run} />
      <Facts run={run} />
      <Volumes run={run} />
      {run.notes.length > 0 ? (
        <Box><strong>{t.notes}</strong><ul>{run.notes.map((note) => <li key={note}>{note}</li>)}</ul></Box>
      ) : null}
    </SpaceBetween>
  );
}

/** The six stages: those that are done, the one at work or failed in, those to come. */
function RunStages({ run }: { run: RunDescription }) {
  const at = run.state === 'COMPLETED' ? STAGES.length : STAGES.findIndex((stage) => stage === run.stage);
  if (at < 0) return null;
  return (
    <Steps
      orientation="horizontal"
      ariaLabel={jobs.details.stages}
      steps={STAGES.map((stage, n) => {
        const status = n < at ? 'success' : n > at ? 'pending' : run.state === 'FAILED' ? 'error' : 'in-progress';
        const words = { success: t.stageDone, pending: t.stageNext, error: t.stageFailed, 'in-progress': t.stageNow }[status];
        return { status, header: stage, statusIconAriaLabel: words, ...(n === at && run.stageStartedOn && run.state === 'ACTIVE' ? { details: <Since time={run.stageStartedOn} /> } : {}) };
      })}
    />
  );
}

function Facts({ run }: { run: RunDescription }) {
  const allows = useAllows();
  const [editing, setEditing] = useState(false);
  const open = run.state === 'ACTIVE' || run.state === 'PENDING';
  return (
    <>
      <KeyValuePairs
        columns={4}
        items={[
          { label: t.state, value: <RunState state={run.state} /> },
          { label: t.type, value: run.type === 'ON_DEMAND' ? t.onDemand : t.automatic },
          { label: t.began, value: <When time={run.startedOn} both /> },
          { label: t.took, value: run.state === 'ACTIVE' && run.startedOn !== undefined ? <Since time={run.startedOn} /> : duration(runSeconds(run, serverNow())) },
          { label: t.read, value: bytes(sum(run, 'bytesRead')) },
          { label: t.sent, value: bytes(sum(run, 'bytesSent')) },
          { label: t.stored, value: bytes(sum(run, 'bytesStored')) },
          { label: t.consistency, value: run.consistency ? consistencyName(run.consistency) : '–' },
          { label: t.point, value: <When time={run.pointInTime} /> },
          { label: t.image, value: run.imageId ? <Id id={run.imageId} what={t.image} /> : '–' },
          { label: t.key, value: run.keyId ? `${run.keyId.slice(0, 12)}…${run.keyVersion ? `, ${t.version(run.keyVersion)}` : ''}` : '–' },
          { label: t.cap, value: <>{run.bandwidthCap ?? jobs.details.noCap}{open && allows('godwit:UpdateReplicationRun') ? <> <Button variant="inline-link" onClick={() => setEditing(true)}>{t.changeCap}</Button></> : null}</> },
          { label: t.id, value: <Id id={run.replicationRunId} what={t.id} /> },
          { label: t.description, value: run.description ?? '–' },
        ]}
      />
      {editing ? <RunCap run={run} close={() => setEditing(false)} /> : null}
    </>
  );
}

function RunCap({ run, close }: { run: RunDescription; close: () => void }) {
  const [cap, setCap] = useState(run.bandwidthCap ?? '');
  return (
    <FormModal
      title={t.capTitle}
      verb={common.save}
      members={['bandwidthCap'] as const}
      act={async () => {
        await call('godwit:UpdateReplicationRun', { replicationRunId: run.replicationRunId, bandwidthCap: cap.trim() });
        cache.invalidate(['runs', 'jobs']);
        tellSuccess(t.capChanged);
      }}
      close={close}
    >
      {(errors) => (
        <FormField label={t.cap} constraintText={t.capHint} errorText={errors.bandwidthCap}>
          <Input value={cap} onChange={({ detail }) => setCap(detail.value)} />
        </FormField>
      )}
    </FormModal>
  );
}

function Volumes({ run }: { run: RunDescription }) {
  if (run.volumes.length === 0) return null;
  const column = (id: string, header: string, cell: (volume: RunVolumeDescription) => React.ReactNode) => ({ id, header, cell });
  return (
    <Table
      variant="embedded"
      contentDensity="compact"
      ariaLabels={{ tableLabel: t.volumes }}
      items={run.volumes}
      trackBy="device"
      columnDefinitions={[
        { ...column('device', t.device, (volume) => volume.device), isRowHeader: true },
        column('total', t.total, (volume) => bytes(volume.bytesTotal)),
        column('done', t.done, (volume) => <Meter value={percent(volume.bytesDone, volume.bytesTotal)} label={`${t.done}: ${volume.device}`} />),
        column('read', t.read, (volume) => bytes(volume.bytesRead)),
        column('sent', t.sent, (volume) => bytes(volume.bytesSent)),
        column('stored', t.stored, (volume) => bytes(volume.bytesStored)),
        column('resent', t.resent, (volume) => bytes(volume.bytesResent)),
        column('verified', t.verified, (volume) => bytes(volume.bytesVerified)),
        column('tracked', t.tracked, (volume) => (volume.tracked ? common.yes : common.no)),
        column('digest', t.digest, (volume) => (volume.rootDigest ? <Id id={volume.rootDigest} shown={`${volume.rootDigest.slice(0, 12)}…`} what={t.digest} /> : '–')),
      ]}
    />
  );
}
