// What surrounds every page: menu, who is signed in, messages, whether what is shown is live.

import Alert from '@cloudscape-design/components/alert';
import AppLayout from '@cloudscape-design/components/app-layout';
import BreadcrumbGroup from '@cloudscape-design/components/breadcrumb-group';
import Button from '@cloudscape-design/components/button';
import Flashbar from '@cloudscape-design/components/flashbar';
import SideNavigation from '@cloudscape-design/components/side-navigation';
import Spinner from '@cloudscape-design/components/spinner';
import TopNavigation from '@cloudscape-design/components/top-navigation';
import Box from '@cloudscape-design/components/box';
import { type ReactNode, Suspense, useEffect, useMemo, useState } from 'react';
import { asApiError } from './api/errors';
import { Broken } from './components/Broken';
import { Empty } from './components/ResourceTable';
import { PasswordForm } from './pages/signin/PasswordForm';
import { pageOf, PAGES } from './routes/pages';
import { BASE, follow, href, navigate, usePath } from './routes/router';
import { dismiss, tell, tellError, useMessages } from './state/messages';
import { type Look, setLook, useLook, useRemembered } from './state/preferences';
import { useSession, useSessionContext } from './state/session';
import { SplitContext, type Split } from './state/split';
import { common } from './strings/common';

const t = common.frame;

const BOTTOM = { position: 'bottom' } as const;

export function Frame() {
  const path = usePath();
  const page = pageOf(path);
  const [split, setSplit] = useState<Split>();
  const [splitOpen, setSplitOpen] = useState(false);
  const [splitSize, setSplitSize] = useRemembered('split.size', 420);
  const [menuOpen, setMenuOpen] = useState(() => window.innerWidth > 900);
  const splitSetters = useMemo(() => ({ setSplit, setOpen: setSplitOpen }), []);

  useEffect(() => {
    document.title = page && page.path !== '/' ? `${page.title} · ${common.product}` : common.product;
  }, [page]);

  const crumbs = [
    { text: common.product, href: href('/') },
    ...PAGES.filter((other) => page?.under === other.path || (other === page && page.path !== '/')).map((other) => ({ text: other.title, href: href(other.path) })),
  ];
  return (
    <>
      <TopBar />
      <SplitContext value={splitSetters}>
        <AppLayout
          splitPanel={split?.panel}
          splitPanelOpen={splitOpen && split !== undefined}
          onSplitPanelToggle={({ detail }) => setSplitOpen(detail.open)}
          splitPanelSize={splitSize}
          onSplitPanelResize={({ detail }) => setSplitSize(detail.size)}
          splitPanelPreferences={BOTTOM}
          onSplitPanelPreferencesChange={() => undefined}
          headerSelector="#top"
          contentType={page?.content ?? 'default'}
          navigation={<Menu path={page?.under ?? page?.path ?? path} />}
          navigationOpen={menuOpen}
          onNavigationChange={({ detail }) => setMenuOpen(detail.open)}
          toolsHide
          breadcrumbs={<BreadcrumbGroup items={crumbs} onFollow={follow} />}
          notifications={<Messages />}
          stickyNotifications
          ariaLabels={{ navigation: t.navigation, notifications: t.messages }}
          content={
            <Broken key={path}>
              <Suspense fallback={<Box textAlign="center" padding="xxl"><Spinner size="large" /><span className="gw-visually-hidden">{common.loading}</span></Box>}>
                {page ? page.page() : <NotFound />}
              </Suspense>
            </Broken>
          }
        />
      </SplitContext>
    </>
  );
}

function Menu({ path }: { path: string }) {
  const item = (to: string, text: string) => ({ type: 'link' as const, text, href: href(to) });
  const p = common.pages;
  return (
    <SideNavigation
      activeHref={href(path)}
      header={{ text: common.product, href: href('/') }}
      onFollow={(event) => {
        follow(event);
      }}
      items={[
        item('/', p.overview),
        { type: 'divider' },
        item('/connectors', p.connectors),
        item('/servers', p.servers),
        item('/jobs', p.jobs),
        item('/images', p.images),
        { type: 'divider' },
        item('/activity', p.activity),
        item('/settings', p.settings),
      ]}
    />
  );
}

function TopBar() {
  const session = useSession();
  const { signOut, live } = useSessionContext();
  const look = useLook();
  const [changing, setChanging] = useState(false);
  const out = (everywhere: boolean) => signOut(everywhere).catch((thrown: unknown) => tellError(t.signOut, asApiError(thrown)));
  const mark = (id: Look, text: string) => ({ id, text, itemType: 'checkbox' as const, checked: look === id });
  const liveText = { live: t.live, polling: t.polling, connecting: t.connecting, unreachable: t.unreachable }[live];
  const liveHint = { live: t.liveHint, polling: t.pollingHint, connecting: t.connectingHint, unreachable: t.unreachableHint }[live];
  return (
    <div id="top" className="gw-top">
      <TopNavigation
        identity={{ href: href('/'), title: common.product, logo: { src: `${BASE}/godwit.svg`, alt: t.logo }, onFollow: (event) => { event.preventDefault(); navigate('/'); } }}
        utilities={[
          { type: 'button', text: liveText, iconName: live === 'live' ? 'status-positive' : live === 'unreachable' ? 'status-negative' : 'status-in-progress', onClick: () => tell({ id: 'live', type: live === 'unreachable' ? 'warning' : 'info', content: liveHint }) },
          {
            type: 'menu-dropdown',
            iconName: 'settings',
            ariaLabel: t.look,
            title: t.look,
            items: [mark('light', t.light), mark('dark', t.dark), mark('system', t.system)],
            onItemClick: ({ detail }) => setLook(detail.id as Look),
          },
          {
            type: 'menu-dropdown',
            text: session.userName,
            description: session.policyNames.join(', '),
            iconName: 'user-profile',
            items: [
              { id: 'password', text: t.password },
              { id: 'out', text: t.signOut },
              { id: 'everywhere', text: t.signOutEverywhere },
            ],
            onItemClick: ({ detail }) => (detail.id === 'password' ? setChanging(true) : void out(detail.id === 'everywhere')),
          },
        ]}
      />
      {changing ? <PasswordForm close={() => setChanging(false)} /> : null}
    </div>
  );
}

function Messages() {
  const messages = useMessages();
  const { live, outdated } = useSessionContext();
  return (
    <>
      {live === 'unreachable' ? <Alert type="warning" header={t.unreachable}>{t.unreachableHint}</Alert> : null}
      {outdated ? <Alert type="info" action={<Button onClick={() => window.location.reload()}>{t.reload}</Button>}>{t.outdated}</Alert> : null}
      <Flashbar
        stackItems
        items={messages.map(({ id, type, header, content }) => ({
          id,
          type: type === 'in-progress' ? 'info' : type,
          loading: type === 'in-progress',
          header,
          content,
          dismissible: type !== 'in-progress',
          dismissLabel: common.close,
          onDismiss: () => dismiss(id),
        }))}
      />
    </>
  );
}

function NotFound(): ReactNode {
  return <Empty title={t.notFound} hint={t.notFoundHint} action={<Button onClick={() => navigate('/')}>{t.toOverview}</Button>} />;
}
