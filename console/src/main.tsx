import '@cloudscape-design/global-styles/index.css';
import './components/console.css';
import { I18nProvider } from '@cloudscape-design/components/i18n';
import messages from '@cloudscape-design/components/i18n/messages/all.en';
import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import Spinner from '@cloudscape-design/components/spinner';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Frame } from './Frame';
import { SignInAgain, SignInPage } from './pages/signin/SignInPage';
import { applyLook } from './state/preferences';
import { SessionProvider, useSessionContext } from './state/session';
import { common } from './strings/common';

function Console() {
  const { state } = useSessionContext();
  switch (state.is) {
    case 'asking':
      return <Box textAlign="center" padding="xxxl"><Spinner size="large" /><span className="gw-visually-hidden">{common.loading}</span></Box>;
    case 'unreachable':
      return <main className="gw-signin"><Alert type="warning" header={common.frame.starting}>{state.error.message}</Alert></main>;
    case 'signed-out':
      return <SignInPage />;
    case 'expired':
    case 'signed-in':
      // In one place for both: what somebody was about to type survives the end of a session. Another user begins anew.
      return (
        <>
          <Frame key={state.session.userName} />
          {state.is === 'expired' ? <SignInAgain userName={state.session.userName} /> : null}
        </>
      );
  }
}

applyLook();
const root = document.getElementById('console');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <I18nProvider locale="en" messages={[messages]}>
        <SessionProvider>
          <Console />
        </SessionProvider>
      </I18nProvider>
    </StrictMode>,
  );
}
