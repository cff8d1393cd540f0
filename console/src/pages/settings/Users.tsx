// Users, and below them the access keys of the one that is selected.

import SpaceBetween from '@cloudscape-design/components/space-between';
import { useMemo, useState } from 'react';
import { call } from '../../api/client';
import type { UserDescription } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { Menu } from '../../components/Menu';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { listOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';
import { AccessKeys } from './AccessKeys';
import { attempt, done } from './done';
import { CreateUser, EditPolicies, RemoveUser, SetPassword, SignInLink, type UserDialog } from './userDialogs';

const t = settings.users;

const columns: readonly Column<UserDescription>[] = [
  { id: 'name', header: t.columns.name, value: (user) => user.userName, width: 220 },
  { id: 'enabled', header: t.columns.enabled, value: (user) => (user.enabled ? t.enabled : t.disabled), width: 140, cell: (user) => <Status tone={user.enabled ? 'success' : 'stopped'}>{user.enabled ? t.enabled : t.disabled}</Status> },
  { id: 'policies', header: t.columns.policies, value: (user) => user.policyNames.join(', '), width: 240 },
  { id: 'password', header: t.columns.password, value: (user) => (user.hasPassword ? common.yes : common.no), width: 130 },
  { id: 'created', header: t.columns.created, value: (user) => user.createdOn, unfiltered: true, width: 150, cell: (user) => <When time={user.createdOn} /> },
];

const keyOf = (user: UserDescription) => user.userName;

export function Users() {
  const users = useQuery(listOf('godwit:DescribeUsers', {}, (answer) => answer.users, ['users']));
  const [selected, setSelected] = useState<string[]>([]);
  const [open, setOpen] = useState<UserDialog>();
  const user = useMemo(() => users.data?.find((each) => selected.includes(each.userName)), [users.data, selected]);
  const none = user ? undefined : t.selectOne;
  const enable = () =>
    attempt(async () => {
      if (!user) return;
      await call('godwit:EnableUser', { userName: user.userName });
      done('users', t.changed(user.userName));
    });
  const close = () => setOpen(undefined);
  return (
    <SpaceBetween size="l">
      <ResourceTable
        name="users"
        title={t.title}
        words={t.words}
        variant="container"
        result={users}
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
                { id: 'policies', text: t.edit, action: 'godwit:AttachPolicy', reason: none, act: () => setOpen('policies') },
                { id: 'password', text: t.setPassword, action: 'godwit:SetPassword', reason: none, act: () => setOpen('password') },
                { id: 'no-password', text: t.deletePassword, action: 'godwit:DeletePassword', reason: none, act: () => setOpen('no-password') },
                { id: 'link', text: t.link, action: 'godwit:CreateSignInLink', reason: none, act: () => setOpen('link') },
                { id: 'enable', text: t.enable, action: 'godwit:EnableUser', reason: none ?? (user?.enabled ? t.isEnabled : undefined), act: () => void enable() },
                { id: 'disable', text: t.disable, action: 'godwit:DisableUser', reason: none ?? (user?.enabled ? undefined : t.isDisabled), act: () => setOpen('disable') },
                { id: 'delete', text: t.delete, action: 'godwit:DeleteUser', reason: none, act: () => setOpen('delete') },
              ]}
            >
              {t.actions}
            </Menu>
            <ActionButton action="godwit:CreateUser" variant="primary" onClick={() => setOpen('create')}>{t.create}</ActionButton>
          </SpaceBetween>
        }
      />
      <AccessKeys userName={user?.userName} />
      {open === 'create' ? <CreateUser close={close} /> : null}
      {open === 'policies' && user ? <EditPolicies user={user} close={close} /> : null}
      {open === 'password' && user ? <SetPassword user={user} close={close} /> : null}
      {open === 'link' && user ? <SignInLink user={user} close={close} /> : null}
      {(open === 'disable' || open === 'delete' || open === 'no-password') && user ? <RemoveUser user={user} what={open} close={close} /> : null}
    </SpaceBetween>
  );
}
