// Who is signed in, and what is heard of the service meanwhile.

import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { readSession, signOut as endSession, whenSessionIsLost } from '../api/client';
import { type ApiError, asApiError } from '../api/errors';
import type { Action } from '../api/operations';
import type { SessionInfo } from '../api/session';
import { cache } from './cache';
import { Live, type LiveStatus } from './live';

export type SessionState =
  | { is: 'asking' }
  | { is: 'unreachable'; error: ApiError }
  | { is: 'signed-out' }
  /** It has ended while the page was used: the page stays behind the question who it is. */
  | { is: 'expired'; session: SessionInfo }
  | { is: 'signed-in'; session: SessionInfo };

type SessionContext = {
  state: SessionState;
  live: LiveStatus;
  /** The service is of another version than this page. */
  outdated: boolean;
  signedIn: (session: SessionInfo) => void;
  signOut: (everywhere: boolean) => Promise<void>;
  askAgain: () => void;
};

const Context = createContext<SessionContext | undefined>(undefined);

export function SessionProvider({ children }: { children: ReactNode }) {
  const [state, setState] = useState<SessionState>({ is: 'asking' });
  const [live, setLive] = useState<LiveStatus>('connecting');
  const [outdated, setOutdated] = useState(false);
  const firstVersion = useRef<string | undefined>(undefined);
  const stream = useRef<Live | undefined>(undefined);

  const lost = useCallback(() => {
    setState((was) => (was.is === 'signed-in' ? { is: 'expired', session: was.session } : was));
  }, []);

  const seen = useCallback((version: string | undefined) => {
    firstVersion.current ??= version;
    if (version !== undefined && version !== firstVersion.current) setOutdated(true);
  }, []);

  const ask = useCallback(async (background: boolean) => {
    try {
      const session = await readSession(background);
      if (session) seen(session.version);
      setState((was) => {
        if (session) return { is: 'signed-in', session };
        return was.is === 'signed-in' ? { is: 'expired', session: was.session } : was.is === 'expired' ? was : { is: 'signed-out' };
      });
    } catch (thrown) {
      const error = asApiError(thrown);
      setState((was) => (was.is === 'asking' || was.is === 'unreachable' ? { is: 'unreachable', error } : was));
    }
  }, [seen]);

  useEffect(() => {
    whenSessionIsLost(lost);
    void ask(false);
  }, [ask, lost]);

  // The service may just be starting: it is asked again until it answers.
  useEffect(() => {
    if (state.is !== 'unreachable') return undefined;
    const timer = setTimeout(() => void ask(true), 3_000);
    return () => clearTimeout(timer);
  }, [state, ask]);

  // Another tab may have signed in meanwhile.
  const isOut = state.is === 'signed-out' || state.is === 'expired';
  useEffect(() => {
    if (!isOut) return undefined;
    const onVisible = () => document.visibilityState === 'visible' && void ask(true);
    document.addEventListener('visibilitychange', onVisible);
    return () => document.removeEventListener('visibilitychange', onVisible);
  }, [isOut, ask]);

  const isSignedIn = state.is === 'signed-in';
  const userName = state.is === 'signed-in' ? state.session.userName : undefined;
  useEffect(() => {
    if (!isSignedIn) return undefined;
    const current = new Live((heard) => {
      switch (heard.type) {
        case 'change':
          cache.invalidate(heard.kinds);
          if (document.visibilityState === 'visible' && (!heard.kinds || heard.kinds.some((kind) => kind === 'users' || kind === 'policies'))) void ask(true);
          break;
        case 'status':
          seen(heard.version);
          setLive(heard.status);
          break;
        case 'signed-out':
          void ask(true);
          break;
        case 'signed-in':
          void ask(true);
          break;
      }
    });
    stream.current = current;
    current.start();
    const onVisible = () => {
      if (document.visibilityState !== 'visible') return;
      cache.shown();
      void ask(true);
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      document.removeEventListener('visibilitychange', onVisible);
      current.stop();
      stream.current = undefined;
    };
  }, [isSignedIn, userName, ask, seen]);

  const signedIn = useCallback(
    (session: SessionInfo) => {
      seen(session.version);
      setState((was) => {
        // What one user has read is not for the next one.
        if (was.is !== 'expired' || was.session.userName !== session.userName) cache.clear();
        return { is: 'signed-in', session };
      });
      const channel = new BroadcastChannel('godwit-events');
      channel.postMessage({ type: 'signed-in' });
      channel.close();
    },
    [seen],
  );

  const signOut = useCallback(async (everywhere: boolean) => {
    await endSession(everywhere);
    stream.current?.tell({ type: 'signed-out' });
    cache.clear();
    setState({ is: 'signed-out' });
  }, []);

  const value = useMemo(
    () => ({ state, live, outdated, signedIn, signOut, askAgain: () => void ask(true) }),
    [state, live, outdated, signedIn, signOut, ask],
  );
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useSessionContext(): SessionContext {
  const context = useContext(Context);
  if (!context) throw new Error('there is no SessionProvider around this');
  return context;
}

/** The session of whoever looks at a page. */
export function useSession(): SessionInfo {
  const { state } = useSessionContext();
  if (state.is !== 'signed-in' && state.is !== 'expired') throw new Error('nobody is signed in');
  return state.session;
}

export type Allows = (action: Action) => boolean;

/** What the user may do. */
export function useAllows(): Allows {
  const session = useSession();
  return useMemo(() => {
    const actions = new Set(session.actions);
    return (action) => actions.has(action);
  }, [session.actions]);
}
