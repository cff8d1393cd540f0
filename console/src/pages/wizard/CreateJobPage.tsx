// Create replication job: three pages, for one server or many.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Wizard from '@cloudscape-design/components/wizard';
import { useMemo, useState } from 'react';
import { call } from '../../api/client';
import { type ApiError, asApiError, fieldErrors } from '../../api/errors';
import type { LicenseWish, ServerDescription } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { Empty } from '../../components/ResourceTable';
import { navigate } from '../../routes/router';
import { cache } from '../../state/cache';
import { serverNow } from '../../state/clock';
import { tellSuccess } from '../../state/messages';
import { useAllows } from '../../state/session';
import { useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { wizard as t } from '../../strings/wizard';
import { serversQuery } from '../servers/query';
import { chosenServers } from './chosen';
import { createRequest, MEMBERS, type Member, NEW_JOB, type Problems, problems, stepOf } from './form';
import { Licences } from './Licences';
import { Review } from './Review';
import { SettingsFields } from './SettingsFields';

export default function CreateJobPage() {
  const [ids] = useState(chosenServers);
  const catalog = useQuery(serversQuery);
  const servers = useMemo(() => {
    const wanted = new Set(ids);
    return (catalog.data?.servers ?? []).filter((server) => wanted.has(server.serverId));
  }, [catalog.data, ids]);
  if (catalog.error && !catalog.data) return <ErrorBox error={catalog.error} what={common.pages.servers} again={catalog.again} />;
  if (ids.length === 0 || (catalog.data && servers.length === 0)) {
    return <Empty title={t.noServers} hint={t.noServersHint} action={<Button variant="primary" onClick={() => navigate('/servers')}>{t.toServers}</Button>} />;
  }
  return <Pages servers={servers} loading={catalog.loading} />;
}

type Refusal = { server: ServerDescription; error: ApiError };

function Pages({ servers, loading }: { servers: readonly ServerDescription[]; loading: boolean }) {
  const [step, setStep] = useState(0);
  const [form, setForm] = useState(NEW_JOB);
  const [licences, setLicences] = useState<Readonly<Record<string, LicenseWish>>>({});
  const [looked, setLooked] = useState(false);
  const [working, setWorking] = useState(false);
  const [done, setDone] = useState<ReadonlySet<string>>(new Set());
  const [refusals, setRefusals] = useState<readonly Refusal[]>([]);
  const allows = useAllows();

  const left = servers.filter((server) => !done.has(server.serverId));
  const wrong = problems(form, serverNow());
  const [firstRefusal] = refusals;
  const refused = fieldErrors<Member>(firstRefusal?.error, MEMBERS);
  const errors: Problems = { ...refused.fields, ...(looked ? wrong : {}) };

  const goTo = (wanted: number) => {
    if (step === 1 && wanted > 1) {
      setLooked(true);
      if (Object.keys(wrong).length > 0) return;
    }
    setStep(wanted);
  };

  const create = async () => {
    setLooked(true);
    if (Object.keys(wrong).length > 0) {
      setStep(1);
      return;
    }
    setWorking(true);
    setRefusals([]);
    const created: [string, string][] = [];
    const failed: Refusal[] = [];
    for (const server of left) {
      try {
        const answer = await call('godwit:CreateReplicationJob', createRequest(form, server.serverId, licences[server.serverId] ?? 'AUTO'));
        created.push([server.serverId, answer.replicationJobId]);
      } catch (thrown) {
        failed.push({ server, error: asApiError(thrown) });
        // What one field is wrong about is wrong for all of them.
        if (Object.keys(fieldErrors<Member>(asApiError(thrown), MEMBERS).fields).length > 0) break;
      }
    }
    cache.invalidate(['jobs', 'runs', 'servers']);
    setWorking(false);
    setDone(new Set([...done, ...created.map(([server]) => server)]));
    setRefusals(failed);
    if (created.length > 0) tellSuccess(created.length === 1 && created[0] ? t.createdOne(created[0][1]) : t.created(created.length));
    if (failed.length === 0) navigate(created.length === 1 && created[0] ? `/jobs?job=${created[0][1]}` : '/jobs');
    else {
      const [member] = Object.keys(fieldErrors<Member>(failed[0]?.error, MEMBERS).fields) as Member[];
      if (member) setStep(stepOf(member));
    }
  };

  const failures = refusals.length === 0 ? null : (
    <Alert type="error" header={t.someFailed(refusals.length, left.length)}>
      <ul>{refusals.slice(0, 10).map(({ server, error }) => <li key={server.serverId}>{t.failedFor(server.name, error.message)}</li>)}</ul>
    </Alert>
  );
  const permitted = allows('godwit:CreateReplicationJob');
  return (
    <Wizard
      i18nStrings={{
        stepNumberLabel: t.stepNumber,
        collapsedStepsLabel: t.collapsed,
        cancelButton: common.cancel,
        previousButton: t.previous,
        nextButton: t.next,
        submitButton: t.create(left.length),
        navigationAriaLabel: t.title,
      }}
      activeStepIndex={step}
      isLoadingNextStep={working || loading}
      onNavigate={({ detail }) => goTo(detail.requestedStepIndex)}
      onCancel={() => navigate('/servers')}
      onSubmit={() => void create()}
      steps={[
        {
          title: t.steps.servers,
          description: t.serversHint,
          content: (
            <SpaceBetween size="l">
              {failures}
              <Licences servers={left} licences={licences} change={setLicences} error={errors.licenseType} loading={loading} />
            </SpaceBetween>
          ),
        },
        {
          title: t.steps.settings,
          content: (
            <SpaceBetween size="l">
              {failures}
              <SettingsFields form={form} change={(changes) => { setForm({ ...form, ...changes }); setRefusals([]); }} errors={errors} />
            </SpaceBetween>
          ),
        },
        {
          title: t.steps.review,
          content: (
            <SpaceBetween size="l">
              {permitted ? null : <Alert type="warning">{common.notAllowed('godwit:CreateReplicationJob')}</Alert>}
              {failures}
              <Review servers={left} licences={licences} form={form} edit={setStep} />
            </SpaceBetween>
          ),
        },
      ]}
    />
  );
}
