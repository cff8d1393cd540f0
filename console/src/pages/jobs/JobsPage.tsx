// The table of jobs, and below it what is known of the one that is selected.

import ButtonDropdown from '@cloudscape-design/components/button-dropdown';
import Button from '@cloudscape-design/components/button';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { lazy, Suspense, useCallback, useMemo, useState } from 'react';
import type { Action } from '../../api/operations';
import type { JobDescription } from '../../api/generated/shapes';
import { Empty, ResourceTable } from '../../components/ResourceTable';
import { navigate, useParameter } from '../../routes/router';
import { useNow } from '../../state/clock';
import { listOf, useQuery } from '../../state/query';
import { useAllows } from '../../state/session';
import { useSplit } from '../../state/split';
import { common } from '../../strings/common';
import { jobs as t } from '../../strings/jobs';
import { connectorsQuery } from '../connectors/query';
import { type JobAction, whyNotAny } from './actions';
import { jobColumns } from './columns';
import { DeleteJobs, ResumeJobs, StartRuns } from './dialogs';
import { JobPanel } from './JobPanel';
import { jobsQuery, showsJobs } from './query';

const EditJob = lazy(() => import('./EditJob'));

const PERMISSIONS: Record<JobAction, Action> = {
  start: 'sms:StartOnDemandReplicationRun',
  resume: 'godwit:ResumeReplicationJob',
  edit: 'godwit:UpdateReplicationJob',
  delete: 'sms:DeleteReplicationJob',
};

const keyOf = (job: JobDescription) => job.replicationJobId;
const nameOf = (job: JobDescription) => `${job.serverName} (${job.replicationJobId})`;

export function JobsPage() {
  const all = useQuery(jobsQuery);
  const [chosen, setChosen] = useParameter('job');
  const [filter] = useParameter('filter');
  const [open, setOpen] = useState<JobAction>();
  const allows = useAllows();
  const now = useNow(5);

  const selectedIds = useMemo(() => (chosen === '' ? [] : chosen.split(',')), [chosen]);
  const [kept, setKept] = useState<JobDescription[]>([]);
  // Jobs that are over and gone are of interest only to who asks for them.
  const asksForDeleted = /deleted/i.test(filter);
  const shown = useMemo(
    () => all.data?.filter((job) => job.state !== 'DELETED' || asksForDeleted || selectedIds.includes(job.replicationJobId)),
    [all.data, asksForDeleted, selectedIds],
  );
  const selected = useMemo(() => (shown ?? []).filter((job) => selectedIds.includes(job.replicationJobId)), [shown, selectedIds]);
  const [single] = selected.length === 1 ? selected : [];
  const runs = useQuery(
    single && listOf('godwit:DescribeReplicationRuns', { replicationJobId: single.replicationJobId }, (answer) => answer.runs, ['runs', 'progress'], 1000),
  );

  const panel = useMemo(
    () => (selected.length === 0 ? undefined : <JobPanel jobs={selected} runs={runs} />),
    [selected, runs.data, runs.error, runs.loading],
  );
  useSplit(panel, single?.replicationJobId ?? '');
  const onShown = useCallback((items: readonly JobDescription[]) => showsJobs(items.map(keyOf)), []);

  const item = (action: JobAction, text: string) => {
    const permission = PERMISSIONS[action];
    const why = allows(permission) ? whyNotAny(action, selected, runs.data ?? [], now) : common.notAllowed(permission);
    return { id: action, text, disabled: why !== undefined, ...(why ? { disabledReason: why } : {}) };
  };
  const close = () => setOpen(undefined);
  const act = (action: JobAction) => {
    // What is selected may change while the question is open: what it was about stays.
    setKept(selected);
    setOpen(action);
  };

  return (
    <>
      <ResourceTable
        name="jobs"
        title={t.title}
        words={t.words}
        result={{ ...all, data: shown }}
        columns={jobColumns}
        keyOf={keyOf}
        nameOf={nameOf}
        selection="multi"
        selected={selectedIds}
        onSelect={(keys) => setChosen(keys.join(','))}
        onShown={onShown}
        parameter="filter"
        empty={<NoJobs />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <ButtonDropdown
              expandToViewport
              items={[item('start', t.start), item('resume', t.resume), item('edit', t.edit), item('delete', t.delete)]}
              onItemClick={({ detail }) => act(detail.id as JobAction)}
            >
              {t.actions}
            </ButtonDropdown>
            <Button variant="primary" onClick={() => navigate('/servers')}>{t.create}</Button>
          </SpaceBetween>
        }
      />
      {open === 'start' ? <StartRuns jobs={kept} runs={runs.data ?? []} close={close} /> : null}
      {open === 'resume' ? <ResumeJobs jobs={kept} close={close} /> : null}
      {open === 'delete' ? <DeleteJobs jobs={kept} close={close} /> : null}
      {open === 'edit' && kept[0] ? <Suspense fallback={null}><EditJob job={kept[0]} close={close} /></Suspense> : null}
    </>
  );
}

/** Leads by the hand: without a connector there are no servers, without servers no jobs. */
function NoJobs() {
  const connectors = useQuery(connectorsQuery);
  const none = connectors.data?.length === 0;
  return none ? (
    <Empty title={t.empty} hint={t.noConnectors} action={<Button variant="primary" onClick={() => navigate('/connectors')}>{t.toConnectors}</Button>} />
  ) : (
    <Empty title={t.empty} hint={t.emptyHint} action={<Button variant="primary" onClick={() => navigate('/servers')}>{t.toServers}</Button>} />
  );
}
