// One's own password.

import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import { useState } from 'react';
import { setOwnPassword } from '../../api/client';
import { FormModal } from '../../components/FormModal';
import { tellSuccess } from '../../state/messages';
import { useSession, useSessionContext } from '../../state/session';
import { common } from '../../strings/common';
import { signin } from '../../strings/signin';
import { passwordProblems } from './request';

const MEMBERS = ['newPassword', 'currentPassword', 'repeat'] as const;

export function PasswordForm({ close }: { close: () => void }) {
  const session = useSession();
  const { askAgain } = useSessionContext();
  const [fields, setFields] = useState({ newPassword: '', currentPassword: '', repeat: '' });
  const asksForCurrent = session.hasPassword && session.signedInWith !== 'link';
  const input = (member: (typeof MEMBERS)[number], autoComplete: string) => (
    <Input
      type="password"
      value={fields[member]}
      autoComplete={autoComplete}
      onChange={({ detail }) => setFields({ ...fields, [member]: detail.value })}
    />
  );
  return (
    <FormModal
      title={signin.changePassword}
      verb={common.save}
      members={MEMBERS}
      check={(): Partial<Record<(typeof MEMBERS)[number], string>> => passwordProblems(fields, signin)}
      act={async () => {
        await setOwnPassword(fields.newPassword, asksForCurrent ? fields.currentPassword : undefined);
        askAgain();
        tellSuccess(signin.changed);
      }}
      close={close}
    >
      {(errors) => (
        <>
          {asksForCurrent ? (
            <FormField label={signin.current} errorText={errors.currentPassword}>{input('currentPassword', 'current-password')}</FormField>
          ) : null}
          <FormField label={signin.newPassword} constraintText={signin.newPasswordHint} errorText={errors.newPassword}>
            {input('newPassword', 'new-password')}
          </FormField>
          <FormField label={signin.repeat} errorText={errors.repeat}>{input('repeat', 'new-password')}</FormField>
        </>
      )}
    </FormModal>
  );
}
