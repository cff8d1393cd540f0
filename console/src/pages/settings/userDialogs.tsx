// What is asked before a user is made, changed or removed.

import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import Modal from '@cloudscape-design/components/modal';
import Multiselect from '@cloudscape-design/components/multiselect';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import { useEffect, useState } from 'react';
import { call } from '../../api/client';
import { type ApiError, asApiError } from '../../api/errors';
import type { UserDescription } from '../../api/generated/shapes';
import { Confirm } from '../../components/Confirm';
import { ErrorBox } from '../../components/ErrorBox';
import { FormModal } from '../../components/FormModal';
import { Id } from '../../components/Id';
import { When } from '../../components/When';
import { href } from '../../routes/router';
import { listOf, useQuery } from '../../state/query';
import { SHORTEST_PASSWORD } from '../signin/request';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';
import { signin } from '../../strings/signin';
import { done } from './done';

const t = settings.users;

export type UserDialog = 'create' | 'policies' | 'password' | 'no-password' | 'link' | 'disable' | 'delete';

type Props = { user: UserDescription; close: () => void };

function PolicyPicker({ chosen, change }: { chosen: readonly string[]; change: (names: string[]) => void }) {
  const policies = useQuery(listOf('godwit:DescribePolicies', {}, (answer) => answer.policies, ['policies']));
  const options = (policies.data ?? []).map((policy) => ({ value: policy.policyName, label: policy.policyName, ...(policy.description ? { description: policy.description } : {}) }));
  return (
    <Multiselect
      options={options}
      statusType={policies.loading ? 'loading' : policies.error ? 'error' : 'finished'}
      errorText={policies.error?.message}
      selectedOptions={chosen.map((value) => ({ value, label: value }))}
      onChange={({ detail }) => change(detail.selectedOptions.map((option) => option.value ?? ''))}
      placeholder={t.pickPolicies}
    />
  );
}

export function CreateUser({ close }: { close: () => void }) {
  const [userName, setUserName] = useState('');
  const [policyNames, setPolicyNames] = useState<string[]>(['operator']);
  return (
    <FormModal
      title={t.create}
      verb={common.create}
      members={['userName', 'policyNames'] as const}
      check={(): { userName?: string } => (userName.trim() === '' ? { userName: t.needed } : {})}
      act={async () => {
        await call('godwit:CreateUser', { userName: userName.trim(), policyNames });
        done('users', t.created(userName.trim()));
      }}
      close={close}
    >
      {(errors) => (
        <>
          <FormField label={t.name} errorText={errors.userName}><Input value={userName} onChange={({ detail }) => setUserName(detail.value)} autoFocus autoComplete="off" /></FormField>
          <FormField label={t.policiesLabel} errorText={errors.policyNames}><PolicyPicker chosen={policyNames} change={setPolicyNames} /></FormField>
        </>
      )}
    </FormModal>
  );
}

export function EditPolicies({ user, close }: Props) {
  const [names, setNames] = useState<string[]>([...user.policyNames]);
  return (
    <FormModal
      title={`${t.edit}: ${user.userName}`}
      verb={common.save}
      members={['policyName'] as const}
      act={async () => {
        // New ones first: nobody is without any in between.
        const { userName } = user;
        for (const policyName of names) if (!user.policyNames.includes(policyName)) await call('godwit:AttachPolicy', { userName, policyName });
        for (const policyName of user.policyNames) if (!names.includes(policyName)) await call('godwit:DetachPolicy', { userName, policyName });
        done('users', t.changed(userName));
      }}
      close={close}
    >
      {(errors) => <FormField label={t.policiesLabel} errorText={errors.policyName}><PolicyPicker chosen={names} change={setNames} /></FormField>}
    </FormModal>
  );
}

export function SetPassword({ user, close }: Props) {
  const [password, setPassword] = useState('');
  return (
    <FormModal
      title={t.passwordTitle(user.userName)}
      verb={common.save}
      members={['password'] as const}
      check={(): { password?: string } => ([...password].length < SHORTEST_PASSWORD ? { password: signin.tooShort } : {})}
      act={async () => {
        await call('godwit:SetPassword', { userName: user.userName, password });
        done('users', t.passwordSet(user.userName));
      }}
      close={close}
    >
      {(errors) => (
        <FormField label={t.password} constraintText={t.passwordHint} errorText={errors.password}>
          <Input type="password" value={password} onChange={({ detail }) => setPassword(detail.value)} autoComplete="new-password" autoFocus />
        </FormField>
      )}
    </FormModal>
  );
}

export function SignInLink({ user, close }: Props) {
  const [link, setLink] = useState<{ address: string; expiresOn: number }>();
  const [error, setError] = useState<ApiError>();
  const { userName } = user;
  useEffect(() => {
    call('godwit:CreateSignInLink', { userName }).then(
      ({ token, expiresOn }) => setLink({ address: `${window.location.origin}${href('/')}#link=${token}`, expiresOn }),
      (thrown: unknown) => setError(asApiError(thrown)),
    );
  }, [userName]);
  return (
    <Modal visible header={t.linkTitle(userName)} onDismiss={close} closeAriaLabel={common.close} footer={<Box float="right"><Button variant="primary" onClick={close}>{common.close}</Button></Box>}>
      <SpaceBetween size="m">
        <Alert type="info">{t.linkHint}</Alert>
        {error ? <ErrorBox error={error} /> : link ? <div className="gw-mono"><Id id={link.address} what={t.link} /> <div><When time={link.expiresOn} both /></div></div> : <Spinner />}
      </SpaceBetween>
    </Modal>
  );
}

export function RemoveUser({ user, what, close }: Props & { what: 'disable' | 'delete' | 'no-password' }) {
  const { userName } = user;
  const of = {
    disable: { title: t.disable, hint: t.disableHint, action: 'godwit:DisableUser', text: t.changed(userName) },
    delete: { title: t.delete, hint: t.deleteHint, action: 'godwit:DeleteUser', text: t.deleted(userName) },
    'no-password': { title: t.deletePassword, hint: t.passwordDeleteHint, action: 'godwit:DeletePassword', text: t.changed(userName) },
  } as const;
  const { title, hint, action, text } = of[what];
  return (
    <Confirm
      title={`${title}: ${userName}`}
      verb={title}
      danger
      {...(what === 'delete' ? { word: userName } : {})}
      close={close}
      act={async () => {
        await call(action, { userName });
        done('users', text);
      }}
    >
      {hint}
    </Confirm>
  );
}
