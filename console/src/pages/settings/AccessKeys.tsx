// Access keys: a secret is shown once, when its key is made.

import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import Modal from '@cloudscape-design/components/modal';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useMemo, useState } from 'react';
import { call } from '../../api/client';
import type { AccessKeyDescription, NewAccessKeyResponse } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { Confirm } from '../../components/Confirm';
import { FormModal } from '../../components/FormModal';
import { Id } from '../../components/Id';
import { Menu } from '../../components/Menu';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { cache } from '../../state/cache';
import { listOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';
import { attempt, done } from './done';

const t = settings.accessKeys;
const words = settings.users;

const columns: readonly Column<AccessKeyDescription>[] = [
  { id: 'id', header: t.columns.id, value: (key) => key.accessKeyId, width: 270, cell: (key) => <Id id={key.accessKeyId} what={t.columns.id} /> },
  { id: 'user', header: t.columns.user, value: (key) => key.userName, width: 150 },
  { id: 'state', header: t.columns.state, value: (key) => (key.enabled ? words.enabled : words.disabled), width: 140, cell: (key) => <Status tone={key.enabled ? 'success' : 'stopped'}>{key.enabled ? words.enabled : words.disabled}</Status> },
  { id: 'used', header: t.columns.used, value: (key) => key.lastUsedOn ?? 0, unfiltered: true, width: 150, cell: (key) => <When time={key.lastUsedOn} otherwise={common.never} /> },
  { id: 'created', header: t.columns.created, value: (key) => key.createdOn, unfiltered: true, width: 150, cell: (key) => <When time={key.createdOn} /> },
  { id: 'ends', header: t.columns.ends, value: (key) => key.endsOn ?? 0, unfiltered: true, width: 150, cell: (key) => <When time={key.endsOn} /> },
];

const keyOf = (key: AccessKeyDescription) => key.accessKeyId;

export function AccessKeys({ userName }: { userName: string | undefined }) {
  const keys = useQuery(listOf('godwit:DescribeAccessKeys', userName ? { userName } : {}, (answer) => answer.accessKeys, ['users']));
  const [selected, setSelected] = useState<string[]>([]);
  const [made, setMade] = useState<NewAccessKeyResponse>();
  const [open, setOpen] = useState<'rotate' | 'delete'>();
  const key = useMemo(() => keys.data?.find((each) => selected.includes(each.accessKeyId)), [keys.data, selected]);
  const none = key ? undefined : t.selectOne;
  const close = () => setOpen(undefined);
  const create = async () => {
    if (!userName) return;
    setMade(await call('godwit:CreateAccessKey', { userName }));
    cache.invalidate(['users']);
  };
  const set = (action: 'godwit:EnableAccessKey' | 'godwit:DisableAccessKey') =>
    attempt(async () => {
      if (!key) return;
      await call(action, { accessKeyId: key.accessKeyId });
      done('users', t.changed);
    });
  return (
    <>
      <ResourceTable
        name="access-keys"
        title={userName ? t.titleOf(userName) : t.title}
        words={t.words}
        variant="container"
        result={keys}
        columns={columns}
        keyOf={keyOf}
        filtered={false}
        selection="single"
        selected={selected}
        onSelect={setSelected}
        empty={<Empty title={t.empty} />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Menu
              items={[
                { id: 'rotate', text: t.rotate, action: 'godwit:RotateAccessKey', reason: none, act: () => setOpen('rotate') },
                { id: 'enable', text: t.enable, action: 'godwit:EnableAccessKey', reason: none ?? (key?.enabled ? t.isEnabled : undefined), act: () => void set('godwit:EnableAccessKey') },
                { id: 'disable', text: t.disable, action: 'godwit:DisableAccessKey', reason: none ?? (key?.enabled ? undefined : t.isDisabled), act: () => void set('godwit:DisableAccessKey') },
                { id: 'delete', text: t.delete, action: 'godwit:DeleteAccessKey', reason: none, act: () => setOpen('delete') },
              ]}
            >
              {t.actions}
            </Menu>
            <ActionButton
              action="godwit:CreateAccessKey"
              reason={userName === undefined ? words.selectOne : (keys.data?.length ?? 0) >= 2 ? t.atMost : undefined}
              onClick={() => void attempt(create)}
            >
              {t.create}
            </ActionButton>
          </SpaceBetween>
        }
      />
      {made ? <Secret made={made} close={() => setMade(undefined)} /> : null}
      {open === 'rotate' && key ? <Rotate accessKeyId={key.accessKeyId} close={close} onMade={setMade} /> : null}
      {open === 'delete' && key ? (
        <Confirm
          title={`${t.delete}: ${key.accessKeyId}`}
          verb={common.delete}
          danger
          close={close}
          act={async () => {
            await call('godwit:DeleteAccessKey', { accessKeyId: key.accessKeyId });
            done('users', t.deleted);
          }}
        >
          {t.deleteHint}
        </Confirm>
      ) : null}
    </>
  );
}

function Rotate({ accessKeyId, close, onMade }: { accessKeyId: string; close: () => void; onMade: (made: NewAccessKeyResponse) => void }) {
  const [grace, setGrace] = useState('');
  const text = grace.trim();
  return (
    <FormModal
      title={t.rotateTitle}
      verb={t.rotate}
      members={['graceMinutes'] as const}
      check={(): { graceMinutes?: string } => (text === '' || (/^\d{1,5}$/.test(text) && Number(text) <= 43_200) ? {} : { graceMinutes: t.graceWrong })}
      act={async () => {
        onMade(await call('godwit:RotateAccessKey', { accessKeyId, ...(text === '' ? {} : { graceMinutes: Number(text) }) }));
        cache.invalidate(['users']);
      }}
      close={close}
    >
      {(errors) => (
        <FormField label={t.grace} constraintText={t.graceHint} errorText={errors.graceMinutes}>
          <Input value={grace} inputMode="numeric" onChange={({ detail }) => setGrace(detail.value)} autoFocus />
        </FormField>
      )}
    </FormModal>
  );
}

function Secret({ made, close }: { made: NewAccessKeyResponse; close: () => void }) {
  return (
    <Modal visible header={t.secretTitle} onDismiss={close} closeAriaLabel={common.close} footer={<Box float="right"><Button variant="primary" onClick={close}>{common.close}</Button></Box>}>
      <SpaceBetween size="m">
        <Alert type="warning">{t.secretHint}</Alert>
        <KeyValuePairs
          items={[
            { label: t.id, value: <Id id={made.accessKeyId} what={t.id} /> },
            { label: t.secret, value: <span className="gw-mono"><Id id={made.secretAccessKey} what={t.secret} /></span> },
            ...(made.oldKeyEndsOn === undefined ? [] : [{ label: t.oldEnds, value: <When time={made.oldKeyEndsOn} both /> }]),
          ]}
        />
      </SpaceBetween>
    </Modal>
  );
}
