// Who may do what, what it is encrypted with, how fast it may go, what the store holds.

import ContentLayout from '@cloudscape-design/components/content-layout';
import Header from '@cloudscape-design/components/header';
import Tabs from '@cloudscape-design/components/tabs';
import { useParameter } from '../../routes/router';
import { settings as t } from '../../strings/settings';
import { Defaults } from './Defaults';
import { Policies, Roles } from './Documents';
import { Keys } from './Keys';
import { Limits } from './Limits';
import { Store } from './Store';
import { Users } from './Users';

export default function SettingsPage() {
  const [tab, setTab] = useParameter('tab');
  return (
    <ContentLayout header={<Header variant="h1">{t.title}</Header>}>
      <Tabs
        activeTabId={tab || 'users'}
        onChange={({ detail }) => setTab(detail.activeTabId === 'users' ? '' : detail.activeTabId)}
        tabs={[
          { id: 'users', label: t.tabs.users, content: <Users /> },
          { id: 'policies', label: t.tabs.policies, content: <Policies /> },
          { id: 'roles', label: t.tabs.roles, content: <Roles /> },
          { id: 'keys', label: t.tabs.keys, content: <Keys /> },
          { id: 'limits', label: t.tabs.limits, content: <Limits /> },
          { id: 'store', label: t.tabs.store, content: <Store /> },
          { id: 'defaults', label: t.tabs.defaults, content: <Defaults /> },
        ]}
      />
    </ContentLayout>
  );
}
