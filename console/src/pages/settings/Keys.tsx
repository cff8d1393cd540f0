// What images are encrypted with.

import Badge from '@cloudscape-design/components/badge';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import Select from '@cloudscape-design/components/select';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useMemo, useState } from 'react';
import { call } from '../../api/client';
import type { KeyDescription } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { Confirm } from '../../components/Confirm';
import { FormModal } from '../../components/FormModal';
import { Id } from '../../components/Id';
import { Menu } from '../../components/Menu';
import { displayCase } from '../../components/names';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { listOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';
import { attempt, done } from './done';

const t = settings.keys;

const columns: readonly Column<KeyDescription>[] = [
  { id: 'id', header: t.columns.id, value: (key) => key.keyId, width: 330, cell: (key) => <Id id={key.keyId} what={t.columns.id} /> },
  { id: 'aliases', header: t.columns.aliases, value: (key) => key.aliases.join(', '), width: 200 },
  { id: 'state', header: t.columns.state, value: (key) => displayCase(key.state), width: 220, cell: (key) => <><Status tone={key.state === 'ENABLED' ? 'success' : 'stopped'}>{displayCase(key.state)}</Status> {key.default ? <Badge color="blue">{t.defaultMark}</Badge> : null}</> },
  { id: 'version', header: t.columns.version, value: (key) => key.version, unfiltered: true, width: 90 },
  { id: 'rotated', header: t.columns.rotated, value: (key) => key.rotatedOn ?? 0, unfiltered: true, width: 140, cell: (key) => <When time={key.rotatedOn} /> },
  { id: 'description', header: t.columns.description, value: (key) => key.description, width: 240 },
  { id: 'created', header: t.columns.created, value: (key) => key.createdOn, unfiltered: true, width: 140, cell: (key) => <When time={key.createdOn} /> },
  { id: 'arn', header: t.columns.arn, value: (key) => key.arn, hidden: true, width: 400 },
];

const keyOf = (key: KeyDescription) => key.keyId;

type Open = 'create' | 'rotate' | 'disable' | 'default' | 'edit' | 'alias' | 'delete-alias';

export function Keys() {
  const keys = useQuery(listOf('godwit:DescribeKeys', {}, (answer) => answer.keys, ['keys']));
  const [selected, setSelected] = useState<string[]>([]);
  const [open, setOpen] = useState<Open>();
  const key = useMemo(() => keys.data?.find((each) => selected.includes(each.keyId)), [keys.data, selected]);
  const none = key ? undefined : t.selectOne;
  const disabled = key?.state === 'DISABLED';
  const enable = () =>
    attempt(async () => {
      if (!key) return;
      await call('godwit:EnableKey', { keyId: key.keyId });
      done('keys', t.changed);
    });
  const close = () => setOpen(undefined);
  return (
    <>
      <ResourceTable
        name="keys"
        title={t.title}
        words={t.words}
        variant="container"
        result={keys}
        columns={columns}
        keyOf={keyOf}
        selection="single"
        selected={selected}
        onSelect={setSelected}
        empty={<Empty title={t.empty} />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Menu
              items={[
                { id: 'rotate', text: t.rotate, action: 'godwit:RotateKey', reason: none ?? (disabled ? t.isDisabled : undefined), act: () => setOpen('rotate') },
                { id: 'default', text: t.makeDefault, action: 'godwit:SetDefaultKey', reason: none ?? (key?.default ? t.isDefaultAlready : disabled ? t.isDisabled : undefined), act: () => setOpen('default') },
                { id: 'edit', text: t.edit, action: 'godwit:UpdateKey', reason: none, act: () => setOpen('edit') },
                { id: 'alias', text: t.alias, action: 'godwit:CreateAlias', reason: none, act: () => setOpen('alias') },
                { id: 'delete-alias', text: t.deleteAlias, action: 'godwit:DeleteAlias', reason: none ?? (key?.aliases.length === 0 ? t.noAlias : undefined), act: () => setOpen('delete-alias') },
                { id: 'enable', text: t.enable, action: 'godwit:EnableKey', reason: none ?? (disabled ? undefined : t.isEnabled), act: () => void enable() },
                { id: 'disable', text: t.disable, action: 'godwit:DisableKey', reason: none ?? (key?.default ? t.isDefault : disabled ? t.isDisabled : undefined), act: () => setOpen('disable') },
              ]}
            >
              {t.actions}
            </Menu>
            <ActionButton action="godwit:CreateKey" variant="primary" onClick={() => setOpen('create')}>{t.create}</ActionButton>
          </SpaceBetween>
        }
      />
      {open === 'create' ? <CreateKey close={close} /> : null}
      {key && open ? <KeyDialog of={key} open={open} close={close} /> : null}
    </>
  );
}

const aliasProblem = (alias: string): { alias?: string } => (/^alias\/.+/.test(alias.trim()) ? {} : { alias: t.aliasNeeded });

function CreateKey({ close }: { close: () => void }) {
  const [alias, setAlias] = useState('');
  const [description, setDescription] = useState('');
  return (
    <FormModal
      title={t.create}
      verb={common.create}
      members={['alias', 'description'] as const}
      check={() => (alias.trim() === '' ? {} : aliasProblem(alias))}
      act={async () => {
        await call('godwit:CreateKey', { ...(alias.trim() ? { alias: alias.trim() } : {}), ...(description.trim() ? { description: description.trim() } : {}) });
        done('keys', t.created);
      }}
      close={close}
    >
      {(errors) => (
        <>
          <FormField label={t.aliasLabel} constraintText={t.aliasHint} errorText={errors.alias}><Input value={alias} placeholder={t.aliasExample} onChange={({ detail }) => setAlias(detail.value)} autoFocus /></FormField>
          <FormField label={t.description} errorText={errors.description}><Input value={description} onChange={({ detail }) => setDescription(detail.value)} /></FormField>
        </>
      )}
    </FormModal>
  );
}

function KeyDialog({ of: key, open, close }: { of: KeyDescription; open: Open; close: () => void }) {
  const { keyId } = key;
  const [text, setText] = useState(open === 'edit' ? (key.description ?? '') : open === 'delete-alias' ? (key.aliases[0] ?? '') : '');
  switch (open) {
    case 'rotate':
      return <Confirm title={t.rotate} verb={t.rotate} close={close} act={async () => done('keys', t.rotated((await call('godwit:RotateKey', { keyId })).version))}>{t.rotateHint}</Confirm>;
    case 'disable':
      return <Confirm title={t.disable} verb={t.disable} danger close={close} act={async () => { await call('godwit:DisableKey', { keyId }); done('keys', t.changed); }}>{t.disableHint}</Confirm>;
    case 'default':
      return <Confirm title={t.makeDefault} verb={t.makeDefault} close={close} act={async () => { await call('godwit:SetDefaultKey', { keyId }); done('keys', t.changed); }}>{t.defaultHint}</Confirm>;
    case 'edit':
      return (
        <FormModal title={t.edit} verb={common.save} members={['description'] as const} close={close} act={async () => { await call('godwit:UpdateKey', { keyId, description: text.trim() }); done('keys', t.changed); }}>
          {(errors) => <FormField label={t.description} errorText={errors.description}><Input value={text} onChange={({ detail }) => setText(detail.value)} autoFocus /></FormField>}
        </FormModal>
      );
    case 'alias':
      return (
        <FormModal title={t.alias} verb={common.save} members={['alias'] as const} check={() => aliasProblem(text)} close={close} act={async () => { await call('godwit:CreateAlias', { keyId, alias: text.trim() }); done('keys', t.changed); }}>
          {(errors) => <FormField label={t.aliasLabel} constraintText={t.aliasHint} errorText={errors.alias}><Input value={text} placeholder={t.aliasExample} onChange={({ detail }) => setText(detail.value)} autoFocus /></FormField>}
        </FormModal>
      );
    case 'delete-alias':
      return (
        <FormModal title={t.deleteAlias} verb={common.delete} members={['alias'] as const} close={close} act={async () => { await call('godwit:DeleteAlias', { alias: text }); done('keys', t.changed); }}>
          {(errors) => (
            <FormField label={t.aliasPick} description={t.aliasDeleteHint} errorText={errors.alias}>
              <Select options={key.aliases.map((value) => ({ value, label: value }))} selectedOption={{ value: text, label: text }} onChange={({ detail }) => setText(detail.selectedOption.value ?? '')} />
            </FormField>
          )}
        </FormModal>
      );
    case 'create':
      return null;
  }
}
