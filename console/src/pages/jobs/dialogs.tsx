// Questions before something is done with one job or many.

import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import RadioGroup from '@cloudscape-design/components/radio-group';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useState } from 'react';
import { call } from '../../api/client';
import type { ApiError } from '../../api/errors';
import type { JobDescription, RunDescription } from '../../api/generated/shapes';
import { Confirm, forEach } from '../../components/Confirm';
import { cache } from '../../state/cache';
import { serverNow } from '../../state/clock';
import { tellError, tellSuccess } from '../../state/messages';
import { common } from '../../strings/common';
import { jobs as t } from '../../strings/jobs';
import { type JobAction, possible } from './actions';

type Props = { jobs: readonly JobDescription[]; close: () => void };

function told(done: string, failedTitle: string, all: number, errors: ApiError[]): void {
  cache.invalidate(['jobs', 'runs']);
  const [first] = errors;
  if (first) tellError(`${failedTitle}: ${common.failedOf(errors.length, all)}`, first);
  if (errors.length < all) tellSuccess(done);
}

function About({ action, jobs, runs = [] }: { action: JobAction; jobs: readonly JobDescription[]; runs?: readonly RunDescription[] }) {
  const left = jobs.length - possible(action, jobs, runs, serverNow()).length;
  const names = jobs.map((job) => job.serverName).sort().slice(0, 8);
  return (
    <div>
      <strong>{names.join(', ')}{jobs.length > names.length ? ' …' : ''}</strong>
      {left > 0 ? <div>{t.skipped(left)}</div> : null}
    </div>
  );
}

export function StartRuns({ jobs, runs, close }: Props & { runs: readonly RunDescription[] }) {
  const [description, setDescription] = useState('');
  const able = possible('start', jobs, runs, serverNow());
  return (
    <Confirm
      title={t.startTitle(jobs.length)}
      verb={t.startVerb}
      close={close}
      act={async () => {
        const text = description.trim();
        const errors = await forEach(able, (job) =>
          call('sms:StartOnDemandReplicationRun', { replicationJobId: job.replicationJobId, ...(text ? { description: text } : {}) }),
        );
        told(t.started(able.length - errors.length), t.startFailed, able.length, errors);
      }}
    >
      <SpaceBetween size="m">
        <About action="start" jobs={jobs} runs={runs} />
        <div>{t.startHint}</div>
        <FormField label={t.startDescription}>
          <Input value={description} onChange={({ detail }) => setDescription(detail.value)} />
        </FormField>
      </SpaceBetween>
    </Confirm>
  );
}

export function ResumeJobs({ jobs, close }: Props) {
  const [when, setWhen] = useState('point');
  const able = possible('resume', jobs, [], serverNow());
  return (
    <Confirm
      title={t.resumeTitle(jobs.length)}
      verb={t.resumeVerb}
      close={close}
      act={async () => {
        const at = when === 'now' ? { nextReplicationRunStartTime: serverNow() } : {};
        const errors = await forEach(able, (job) => call('godwit:ResumeReplicationJob', { replicationJobId: job.replicationJobId, ...at }));
        told(t.resumed(able.length - errors.length), t.resumeFailed, able.length, errors);
      }}
    >
      <SpaceBetween size="m">
        <About action="resume" jobs={jobs} />
        <div>{t.resumeHint}</div>
        <FormField label={t.columns.next}>
          <RadioGroup
            value={when}
            onChange={({ detail }) => setWhen(detail.value)}
            items={[
              { value: 'point', label: t.resumeAtPoint },
              { value: 'now', label: t.resumeNow, description: t.resumeNowHint },
            ]}
          />
        </FormField>
      </SpaceBetween>
    </Confirm>
  );
}

export function DeleteJobs({ jobs, close }: Props) {
  const able = possible('delete', jobs, [], serverNow());
  const [first] = able;
  return (
    <Confirm
      title={t.deleteTitle(jobs.length)}
      verb={common.delete}
      danger
      {...(able.length > 1 ? { word: 'delete' } : first ? { word: first.serverName } : {})}
      close={close}
      act={async () => {
        const errors = await forEach(able, (job) => call('sms:DeleteReplicationJob', { replicationJobId: job.replicationJobId }));
        told(t.deleted(able.length - errors.length), t.deleteFailed, able.length, errors);
      }}
    >
      <About action="delete" jobs={jobs} />
      <div>{t.deleteHint(able.length)}</div>
    </Confirm>
  );
}
