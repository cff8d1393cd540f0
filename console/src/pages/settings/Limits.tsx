// The cap over all runs.

import Container from '@cloudscape-design/components/container';
import FormField from '@cloudscape-design/components/form-field';
import Header from '@cloudscape-design/components/header';
import Input from '@cloudscape-design/components/input';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import { useState } from 'react';
import { call } from '../../api/client';
import { ActionButton } from '../../components/ActionButton';
import { ErrorBox } from '../../components/ErrorBox';
import { rate } from '../../components/format';
import { FormModal } from '../../components/FormModal';
import { When } from '../../components/When';
import { cache } from '../../state/cache';
import { tellSuccess } from '../../state/messages';
import { answerOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';

const t = settings.limits;

export function Limits() {
  const limits = useQuery(answerOf('godwit:DescribeLimits', {}, ['limits']));
  const [editing, setEditing] = useState(false);
  return (
    <Container
      header={
        <Header variant="h2" description={t.hint} actions={<ActionButton action="godwit:UpdateLimits" onClick={() => setEditing(true)}>{t.edit}</ActionButton>}>{t.title}</Header>
      }
    >
      {limits.error && !limits.data ? <ErrorBox error={limits.error} what={t.title} again={limits.again} /> : null}
      {limits.loading ? <Spinner /> : null}
      {limits.data ? (
        <SpaceBetween size="m">
          <KeyValuePairs
            columns={3}
            items={[
              { label: t.cap, value: limits.data.bandwidthCap ?? t.none },
              { label: t.now, value: limits.data.bytesPerSecond === undefined ? t.none : rate(limits.data.bytesPerSecond) },
              { label: t.changes, value: <When time={limits.data.changesOn} both /> },
            ]}
          />
          <div className="gw-quiet">{t.others}</div>
        </SpaceBetween>
      ) : null}
      {editing ? <EditCap was={limits.data?.bandwidthCap ?? 'none'} close={() => setEditing(false)} /> : null}
    </Container>
  );
}

function EditCap({ was, close }: { was: string; close: () => void }) {
  const [cap, setCap] = useState(was);
  return (
    <FormModal
      title={t.title}
      verb={common.save}
      members={['bandwidthCap'] as const}
      act={async () => {
        await call('godwit:UpdateLimits', { bandwidthCap: cap.trim() || 'none' });
        cache.invalidate(['limits']);
        tellSuccess(t.saved);
      }}
      close={close}
    >
      {(errors) => (
        <FormField label={t.cap} constraintText={t.capHint} errorText={errors.bandwidthCap}>
          <Input value={cap} onChange={({ detail }) => setCap(detail.value)} autoFocus />
        </FormField>
      )}
    </FormModal>
  );
}
