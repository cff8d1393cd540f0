// What was told to whom, whether it arrived, and why not.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import Modal from '@cloudscape-design/components/modal';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useMemo, useState } from 'react';
import { call } from '../../api/client';
import { ApiError, asApiError } from '../../api/errors';
import type { NotificationDescription, NotificationState } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { FormModal } from '../../components/FormModal';
import { Go } from '../../components/Go';
import { displayCase, type Tone } from '../../components/names';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { cache } from '../../state/cache';
import { tellError, tellSuccess } from '../../state/messages';
import { listOf, useQuery } from '../../state/query';
import { activity } from '../../strings/activity';
import { common } from '../../strings/common';

const t = activity.notifications;

const TONES: Record<NotificationState, Tone> = { PENDING: 'pending', DELIVERED: 'success', GIVEN_UP: 'error' };

function columns(open: (notification: NotificationDescription) => void): Column<NotificationDescription>[] {
  return [
    { id: 'subject', header: t.columns.subject, value: (n) => n.subject, width: 320, cell: (n) => <Button variant="inline-link" onClick={() => open(n)}>{n.subject}</Button> },
    { id: 'state', header: t.columns.state, value: (n) => displayCase(n.state), width: 130, cell: (n) => <Status tone={TONES[n.state]}>{displayCase(n.state)}</Status> },
    { id: 'recipient', header: t.columns.recipient, value: (n) => n.recipient, width: 230 },
    { id: 'event', header: t.columns.event, value: (n) => displayCase(n.event), width: 150 },
    { id: 'happened', header: t.columns.happened, value: (n) => n.happenedOn, unfiltered: true, width: 140, cell: (n) => <When time={n.happenedOn} /> },
    { id: 'attempts', header: t.columns.attempts, value: (n) => n.attempts, unfiltered: true, width: 100 },
    { id: 'next', header: t.columns.next, value: (n) => n.nextAttemptOn ?? 0, unfiltered: true, width: 140, cell: (n) => <When time={n.nextAttemptOn} /> },
    { id: 'failure', header: t.columns.failure, value: (n) => n.failure?.code, width: 220 },
    { id: 'server', header: t.columns.server, value: (n) => n.serverName, width: 140 },
    { id: 'job', header: t.columns.job, value: (n) => n.replicationJobId, width: 170, cell: (n) => <Go to={`/jobs?job=${n.replicationJobId}`}>{n.replicationJobId}</Go> },
    { id: 'id', header: t.columns.id, value: (n) => n.notificationId, hidden: true, width: 220 },
  ];
}

const keyOf = (n: NotificationDescription) => n.notificationId;

export function Notifications() {
  const all = useQuery(listOf('godwit:DescribeNotifications', {}, (answer) => answer.notifications, ['notifications'], 5_000));
  const [selected, setSelected] = useState<string[]>([]);
  const [opened, setOpened] = useState<NotificationDescription>();
  const [testing, setTesting] = useState(false);
  const definitions = useMemo(() => columns(setOpened), []);
  const redeliver = async () => {
    try {
      for (const notificationId of selected) await call('godwit:RedeliverNotification', { notificationId });
      cache.invalidate(['notifications']);
      tellSuccess(t.redelivered);
    } catch (thrown) {
      tellError(t.redeliverFailed, asApiError(thrown));
    }
  };
  return (
    <>
      <ResourceTable
        name="notifications"
        title={t.title}
        words={t.words}
        variant="container"
        result={all}
        columns={definitions}
        keyOf={keyOf}
        nameOf={(n) => n.subject}
        selection="multi"
        selected={selected}
        onSelect={setSelected}
        parameter="filter"
        sort={{ column: 'happened', descending: true }}
        empty={<Empty title={t.empty} hint={t.emptyHint} />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <ActionButton action="godwit:RedeliverNotification" onClick={() => void redeliver()} reason={selected.length === 0 ? t.selectOne : undefined}>{t.redeliver}</ActionButton>
            <ActionButton action="godwit:SendTestNotification" onClick={() => setTesting(true)}>{t.test}</ActionButton>
          </SpaceBetween>
        }
      />
      {testing ? <Test close={() => setTesting(false)} /> : null}
      {opened ? (
        <Modal visible size="large" header={opened.subject} onDismiss={() => setOpened(undefined)} closeAriaLabel={common.close}>
          <SpaceBetween size="m">
            {opened.failure ? <Alert type="warning" header={opened.failure.code}>{opened.failure.evidence} <div><strong>{t.nextStep}:</strong> {opened.failure.nextStep}</div></Alert> : null}
            <pre className="gw-pre">{opened.text}</pre>
          </SpaceBetween>
        </Modal>
      ) : null}
    </>
  );
}

function Test({ close }: { close: () => void }) {
  const [recipient, setRecipient] = useState('');
  return (
    <FormModal
      title={t.testTitle}
      verb={t.testVerb}
      members={['recipient'] as const}
      check={(): { recipient?: string } => (recipient.trim() === '' ? { recipient: t.needed } : {})}
      act={async () => {
        const answer = await call('godwit:SendTestNotification', { recipient: recipient.trim() });
        if (answer.delivered) tellSuccess(t.arrived(recipient.trim()));
        else throw new ApiError(t.notArrived(answer.failure?.code ?? ''), `${answer.failure?.evidence ?? ''} – ${answer.failure?.nextStep ?? ''}`);
      }}
      close={close}
    >
      {(errors) => (
        <FormField label={t.testRecipient} description={t.testHint} errorText={errors.recipient}>
          <Input value={recipient} onChange={({ detail }) => setRecipient(detail.value)} autoFocus spellcheck={false} />
        </FormField>
      )}
    </FormModal>
  );
}
