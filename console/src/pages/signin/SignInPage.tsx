// The first page, and the question that comes back when a session has ended.

import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import Container from '@cloudscape-design/components/container';
import Modal from '@cloudscape-design/components/modal';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import { useEffect, useState } from 'react';
import { signIn } from '../../api/client';
import { useSessionContext } from '../../state/session';
import { signin } from '../../strings/signin';
import { linkToken } from './request';
import { SignInForm } from './SignInForm';

// Read once and taken out of the address, so that it is neither shown, nor kept in the history, nor handed on.
let token = typeof window === 'undefined' ? undefined : linkToken(window.location.hash);
if (token) window.history.replaceState(null, '', window.location.pathname + window.location.search);

export const hasLink = () => token !== undefined;

export function SignInPage() {
  const { signedIn } = useSessionContext();
  const [link, setLink] = useState<'none' | 'using' | 'failed'>(token ? 'using' : 'none');

  useEffect(() => {
    const used = token;
    token = undefined;
    if (!used) return;
    signIn({ link: used }).then(signedIn, () => setLink('failed'));
  }, [signedIn]);

  return (
    <main className="gw-signin">
      <div className="gw-mark">
        <img src="/console/godwit.svg" alt="" />
        <Box variant="h1">{signin.title}</Box>
      </div>
      <Container>
        <SpaceBetween size="l">
          {link === 'failed' ? <Alert type="warning">{signin.linkUsed}</Alert> : null}
          {link === 'using' ? <Box textAlign="center"><Spinner /> {signin.usingLink}</Box> : <SignInForm />}
        </SpaceBetween>
      </Container>
      <Box padding={{ top: 'm' }} color="text-body-secondary" fontSize="body-s">{signin.first}</Box>
    </main>
  );
}

export function SignInAgain({ userName }: { userName: string }) {
  return (
    <Modal visible header={signin.title} onDismiss={() => {}} disableContentPaddings={false}>
      <SpaceBetween size="m">
        <Alert type="info">{signin.expired}</Alert>
        <SignInForm userName={userName} />
      </SpaceBetween>
    </Modal>
  );
}
