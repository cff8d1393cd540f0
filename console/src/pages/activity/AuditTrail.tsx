// Who did what: filtered by the service, which may hold millions of records.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import Container from '@cloudscape-design/components/container';
import FormField from '@cloudscape-design/components/form-field';
import Grid from '@cloudscape-design/components/grid';
import Input from '@cloudscape-design/components/input';
import Select from '@cloudscape-design/components/select';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useDeferredValue, useMemo, useState } from 'react';
import { call } from '../../api/client';
import { asApiError } from '../../api/errors';
import type { AuditRecordDescription, VerifyAuditTrailResponse } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { Id } from '../../components/Id';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { useNow } from '../../state/clock';
import { tellError } from '../../state/messages';
import { listOf, useQuery } from '../../state/query';
import { activity } from '../../strings/activity';
import { ALL, type AuditFilter, auditRequest } from './request';

const t = activity.audit;
const PAGE = 500;

const columns: readonly Column<AuditRecordDescription>[] = [
  { id: 'number', header: t.columns.number, value: (r) => r.number, unfiltered: true, width: 100 },
  { id: 'at', header: t.columns.at, value: (r) => r.at, unfiltered: true, width: 150, cell: (r) => <When time={r.at} /> },
  { id: 'user', header: t.columns.user, value: (r) => r.user, width: 140 },
  { id: 'action', header: t.columns.action, value: (r) => r.action, width: 260 },
  { id: 'outcome', header: t.columns.outcome, value: (r) => r.outcome, width: 180, cell: (r) => <Status tone={r.outcome === 'OK' ? 'success' : r.outcome === 'UNKNOWN' ? 'warning' : 'error'}>{r.outcome}</Status> },
  { id: 'parameters', header: t.columns.parameters, value: (r) => r.parameters, width: 360, cell: (r) => <span className="gw-mono">{r.parameters}</span> },
  { id: 'message', header: t.columns.message, value: (r) => r.message, width: 260 },
  { id: 'source', header: t.columns.source, value: (r) => r.source, width: 160 },
  { id: 'key', header: t.columns.key, value: (r) => r.accessKeyId, hidden: true, width: 200 },
  { id: 'request', header: t.columns.request, value: (r) => r.requestId, hidden: true, width: 260 },
];

const keyOf = (record: AuditRecordDescription) => String(record.number);

export function AuditTrail() {
  const [filter, setFilter] = useState<AuditFilter>(ALL);
  const [most, setMost] = useState(PAGE);
  const [verified, setVerified] = useState<VerifyAuditTrailResponse>();
  const [verifying, setVerifying] = useState(false);
  const deferred = useDeferredValue(filter);
  const minute = useNow(60);
  const request = useMemo(() => auditRequest(deferred, minute), [deferred, minute]);
  const records = useQuery(listOf('godwit:DescribeAuditRecords', { ...request, maxResults: PAGE }, (answer) => answer.records, ['audit'], most));
  const change = (changes: Partial<AuditFilter>) => {
    setFilter({ ...filter, ...changes });
    setMost(PAGE);
  };
  const verify = async () => {
    setVerifying(true);
    try {
      setVerified(await call('godwit:VerifyAuditTrail', {}));
    } catch (thrown) {
      tellError(t.verifyFailed, asApiError(thrown));
    } finally {
      setVerifying(false);
    }
  };
  const select = <K extends string>(texts: Readonly<Record<K, string>>, value: K, set: (value: K) => void) => (
    <Select
      options={Object.entries<string>(texts).map(([each, label]) => ({ value: each, label }))}
      selectedOption={{ value, label: texts[value] }}
      onChange={({ detail }) => set(detail.selectedOption.value as K)}
    />
  );
  const third = { colspan: { default: 12, xs: 6, s: 3 } } as const;
  return (
    <SpaceBetween size="m">
      <Container>
        <Grid gridDefinition={[third, third, third, third]}>
          <FormField label={t.since}>{select(t.sinces, filter.since, (since) => change({ since }))}</FormField>
          <FormField label={t.who} constraintText={t.whoHint}><Input value={filter.who} onChange={({ detail }) => change({ who: detail.value })} /></FormField>
          <FormField label={t.what} constraintText={t.whatHint}><Input value={filter.what} onChange={({ detail }) => change({ what: detail.value })} /></FormField>
          <FormField label={t.outcome}>{select(t.outcomes, filter.outcome, (outcome) => change({ outcome }))}</FormField>
        </Grid>
      </Container>
      {verified ? <Verified answer={verified} close={() => setVerified(undefined)} /> : null}
      <ResourceTable
        name="audit"
        title={t.title}
        words={t.words}
        variant="container"
        result={records}
        columns={columns}
        keyOf={keyOf}
        filtered={false}
        empty={<Empty title={t.empty} hint={t.emptyHint} />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            {(records.data?.length ?? 0) >= most ? <Button onClick={() => setMost(most + PAGE)}>{t.more}</Button> : null}
            <ActionButton action="godwit:VerifyAuditTrail" onClick={() => void verify()} loading={verifying}>{t.verify}</ActionButton>
          </SpaceBetween>
        }
      />
    </SpaceBetween>
  );
}

function Verified({ answer, close }: { answer: VerifyAuditTrailResponse; close: () => void }) {
  return answer.intact ? (
    <Alert type="success" dismissible onDismiss={close}>
      {t.intact(answer.records, answer.lastNumber)} {t.hash}: <Id id={answer.lastHash} shown={`${answer.lastHash.slice(0, 16)}…`} what={t.hash} />
    </Alert>
  ) : (
    <Alert type="error" dismissible onDismiss={close} header={t.broken(answer.brokenNumber ?? 0)}>{answer.reason}</Alert>
  );
}
