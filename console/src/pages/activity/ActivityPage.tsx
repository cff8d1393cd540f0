// What was told to whom, and who did what.

import ContentLayout from '@cloudscape-design/components/content-layout';
import Header from '@cloudscape-design/components/header';
import Tabs from '@cloudscape-design/components/tabs';
import { useParameter } from '../../routes/router';
import { activity as t } from '../../strings/activity';
import { AuditTrail } from './AuditTrail';
import { Notifications } from './Notifications';

export default function ActivityPage() {
  const [tab, setTab] = useParameter('tab');
  return (
    <ContentLayout header={<Header variant="h1">{t.title}</Header>}>
      <Tabs
        activeTabId={tab || 'notifications'}
        onChange={({ detail }) => setTab(detail.activeTabId === 'notifications' ? '' : detail.activeTabId)}
        tabs={[
          { id: 'notifications', label: t.notifications.title, content: <Notifications /> },
          { id: 'audit', label: t.audit.title, content: <AuditTrail /> },
        ]}
      />
    </ContentLayout>
  );
}
