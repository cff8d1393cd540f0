// Policies and roles: both are a name and a document in the same language.

import Alert from '@cloudscape-design/components/alert';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Textarea from '@cloudscape-design/components/textarea';
import { useMemo, useState } from 'react';
import { call } from '../../api/client';
import type { Action } from '../../api/operations';
import { ActionButton } from '../../components/ActionButton';
import { Confirm } from '../../components/Confirm';
import { FormModal } from '../../components/FormModal';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { When } from '../../components/When';
import { listOf, type Result, useQuery } from '../../state/query';
import { useAllows } from '../../state/session';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';
import { documentProblem, pretty } from './document';
import { done } from './done';

const t = settings.documents;

type Document = { name: string; builtIn: boolean; document: string; description: string | undefined; createdOn: number | undefined; changedOn: number | undefined };

type Kind = {
  words: (typeof t)['policies'] | (typeof t)['roles'];
  name: string;
  member: 'policyName' | 'roleName';
  example: string;
  actions: { create: Action; update: Action; delete: Action; describe: Action };
  /** Writes a new one, or changes one that is there. */
  save: (isNew: boolean, name: string, policyDocument: string, description: string) => Promise<unknown>;
  remove: (name: string) => Promise<unknown>;
  kind: 'policies' | 'roles';
};

const POLICIES: Kind = {
  words: t.policies, name: 'policies', member: 'policyName', example: t.example, kind: 'policies',
  actions: { create: 'godwit:CreatePolicy', update: 'godwit:UpdatePolicy', delete: 'godwit:DeletePolicy', describe: 'godwit:DescribePolicies' },
  save: (isNew, policyName, policyDocument, description) =>
    call(isNew ? 'godwit:CreatePolicy' : 'godwit:UpdatePolicy', { policyName, policyDocument, description }),
  remove: (policyName) => call('godwit:DeletePolicy', { policyName }),
};
const ROLES: Kind = {
  words: t.roles, name: 'roles', member: 'roleName', example: t.roleExample, kind: 'roles',
  actions: { create: 'godwit:CreateRole', update: 'godwit:UpdateRole', delete: 'godwit:DeleteRole', describe: 'godwit:DescribeRoles' },
  save: (isNew, roleName, policyDocument, description) =>
    call(isNew ? 'godwit:CreateRole' : 'godwit:UpdateRole', { roleName, policyDocument, description }),
  remove: (roleName) => call('godwit:DeleteRole', { roleName }),
};

export function Policies() {
  const all = useQuery(listOf('godwit:DescribePolicies', {}, (answer) => answer.policies, ['policies']));
  const data = useMemo(
    () => all.data?.map((policy): Document => ({ ...policy, name: policy.policyName, document: policy.policyDocument, description: policy.description, createdOn: policy.createdOn, changedOn: policy.changedOn })),
    [all.data],
  );
  return <Documents kind={POLICIES} all={{ ...all, data }} />;
}

export function Roles() {
  const all = useQuery(listOf('godwit:DescribeRoles', {}, (answer) => answer.roles, ['roles']));
  const data = useMemo(
    () => all.data?.map((role): Document => ({ ...role, name: role.roleName, builtIn: false, document: role.policyDocument, description: role.description })),
    [all.data],
  );
  return <Documents kind={ROLES} all={{ ...all, data }} />;
}

const columns: readonly Column<Document>[] = [
  { id: 'name', header: t.columns.name, value: (d) => d.name, width: 240 },
  { id: 'kind', header: t.columns.kind, value: (d) => (d.builtIn ? t.builtIn : t.own), width: 130 },
  { id: 'description', header: t.columns.description, value: (d) => d.description, width: 420 },
  { id: 'changed', header: t.columns.changed, value: (d) => d.changedOn ?? 0, unfiltered: true, width: 150, cell: (d) => <When time={d.changedOn} /> },
];

const keyOf = (document: Document) => document.name;

function Documents({ kind, all }: { kind: Kind; all: Result<Document[]> }) {
  const [selected, setSelected] = useState<string[]>([]);
  const [open, setOpen] = useState<'create' | 'edit' | 'delete'>();
  const allows = useAllows();
  const document = all.data?.find((each) => selected.includes(each.name));
  const none = document ? undefined : kind.words.selectOne;
  const readOnly = document !== undefined && (document.builtIn || !allows(kind.actions.update));
  const close = () => setOpen(undefined);
  return (
    <>
      <ResourceTable
        name={kind.name}
        title={kind.words.title}
        words={kind.words.words}
        description={kind.words.hint}
        variant="container"
        result={all}
        columns={columns}
        keyOf={keyOf}
        selection="single"
        selected={selected}
        onSelect={setSelected}
        empty={<Empty title={kind.words.empty} hint={kind.words.hint} />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <ActionButton action={readOnly ? kind.actions.describe : kind.actions.update} onClick={() => setOpen('edit')} reason={none}>{readOnly ? t.show : t.edit}</ActionButton>
            <ActionButton action={kind.actions.delete} onClick={() => setOpen('delete')} reason={none ?? (document?.builtIn ? t.builtInHint : undefined)}>{t.delete}</ActionButton>
            <ActionButton action={kind.actions.create} variant="primary" onClick={() => setOpen('create')}>{kind.words.create}</ActionButton>
          </SpaceBetween>
        }
      />
      {open === 'create' ? <Editor kind={kind} close={close} /> : null}
      {open === 'edit' && document ? <Editor kind={kind} document={document} readOnly={readOnly} close={close} /> : null}
      {open === 'delete' && document ? (
        <Confirm
          title={`${t.delete}: ${document.name}`}
          verb={common.delete}
          danger
          word={document.name}
          close={close}
          act={async () => {
            await kind.remove(document.name);
            done(kind.kind, t.deleted(document.name));
          }}
        >
          {t.deleteHint}
        </Confirm>
      ) : null}
    </>
  );
}

const MEMBERS = ['policyName', 'roleName', 'policyDocument', 'description'] as const;

function Editor({ kind, document, readOnly = false, close }: { kind: Kind; document?: Document; readOnly?: boolean; close: () => void }) {
  const [name, setName] = useState(document?.name ?? '');
  const [text, setText] = useState(document ? pretty(document.document) : kind.example);
  const [description, setDescription] = useState(document?.description ?? '');
  return (
    <FormModal
      title={document ? document.name : kind.words.create}
      verb={readOnly ? common.close : common.save}
      size="large"
      members={MEMBERS}
      check={() => {
        if (readOnly) return {};
        const problem = documentProblem(text);
        return { ...(name.trim() === '' ? { [kind.member]: t.needed } : {}), ...(problem === undefined ? {} : { policyDocument: t.notJson(problem) }) };
      }}
      act={async () => {
        if (readOnly) return;
        await kind.save(!document, name.trim(), text, description.trim());
        done(kind.kind, t.saved(name.trim()));
      }}
      close={close}
    >
      {(errors) => (
        <>
          {readOnly ? <Alert type="info">{t.builtInHint}</Alert> : null}
          {document ? null : <FormField label={t.name} errorText={errors[kind.member]}><Input value={name} onChange={({ detail }) => setName(detail.value)} autoFocus /></FormField>}
          <FormField label={t.description} errorText={errors.description}><Input value={description} readOnly={readOnly} onChange={({ detail }) => setDescription(detail.value)} /></FormField>
          <FormField label={t.document} constraintText={t.documentHint} errorText={errors.policyDocument} stretch>
            <Textarea rows={14} value={text} readOnly={readOnly} spellcheck={false} onChange={({ detail }) => setText(detail.value)} />
          </FormField>
        </>
      )}
    </FormModal>
  );
}
