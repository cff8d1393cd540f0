// Who is there? By password or by access key.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import Form from '@cloudscape-design/components/form';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import RadioGroup from '@cloudscape-design/components/radio-group';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useEffect, useState } from 'react';
import { signIn } from '../../api/client';
import { type ApiError, asApiError } from '../../api/errors';
import { useSessionContext } from '../../state/session';
import { signin } from '../../strings/signin';
import { type Credentials, signInRequest } from './request';

const NOTHING: Credentials = { by: 'password', name: '', secret: '' };

export function SignInForm({ userName }: { userName?: string }) {
  const { signedIn } = useSessionContext();
  const [given, setGiven] = useState<Credentials>({ ...NOTHING, name: userName ?? '' });
  const [working, setWorking] = useState(false);
  const [tried, setTried] = useState(false);
  const [error, setError] = useState<ApiError>();
  const wait = useCountdown(error?.retryAfter);

  const submit = async () => {
    setTried(true);
    const request = signInRequest(given);
    if (!request || working || wait > 0) return;
    setWorking(true);
    setError(undefined);
    try {
      signedIn(await signIn(request));
    } catch (thrown) {
      setError(asApiError(thrown));
      setGiven({ ...given, secret: '' });
      setTried(false);
      setWorking(false);
    }
  };

  const byKey = given.by === 'accessKey';
  const needed = (text: string) => (tried && text.trim() === '' ? signin.needed : undefined);
  return (
    <form onSubmit={(event) => { event.preventDefault(); void submit(); }}>
      <Form actions={<Button variant="primary" formAction="submit" loading={working} disabled={wait > 0}>{signin.submit}</Button>}>
        <SpaceBetween size="l">
          <RadioGroup
            direction="horizontal"
            value={given.by}
            onChange={({ detail }) => { setGiven({ ...NOTHING, by: detail.value as Credentials['by'] }); setTried(false); }}
            ariaLabel={signin.title}
            items={[
              { value: 'password', label: signin.password },
              { value: 'accessKey', label: signin.accessKey },
            ]}
          />
          <FormField label={byKey ? signin.accessKeyId : signin.userName} errorText={needed(given.name)}>
            <Input
              value={given.name}
              onChange={({ detail }) => setGiven({ ...given, name: detail.value })}
              autoComplete="username"
              autoFocus={!userName}
              spellcheck={false}
            />
          </FormField>
          <FormField label={byKey ? signin.secretAccessKey : signin.passwordLabel} errorText={needed(given.secret)}>
            <Input
              type="password"
              value={given.secret}
              onChange={({ detail }) => setGiven({ ...given, secret: detail.value })}
              autoComplete="current-password"
              autoFocus={!!userName}
            />
          </FormField>
          {error ? <Alert type="error" header={signin.failed}>{wait > 0 ? signin.wait(wait) : error.message}</Alert> : null}
        </SpaceBetween>
      </Form>
    </form>
  );
}

/** Seconds that are left to wait. */
function useCountdown(seconds: number | undefined): number {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    setLeft(seconds ?? 0);
    if (!seconds) return undefined;
    const timer = setInterval(() => setLeft((was) => Math.max(0, was - 1)), 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return left;
}
