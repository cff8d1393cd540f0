// What counts unless a job says otherwise, what this session is, and the settings that the service works with.

import Container from '@cloudscape-design/components/container';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { absolute, duration } from '../../components/format';
import { When } from '../../components/When';
import { useNow } from '../../state/clock';
import { answerOf, useQuery } from '../../state/query';
import { useSession } from '../../state/session';
import { settings } from '../../strings/settings';
import { wizard } from '../../strings/wizard';
import { InForce } from './InForce';

const t = settings.defaults;

export function Defaults() {
  const session = useSession();
  const now = useNow();
  const keys = useQuery(answerOf('godwit:DescribeKeys', { maxResults: 1000 }, ['keys']));
  const limits = useQuery(answerOf('godwit:DescribeLimits', {}, ['limits']));
  const store = useQuery(answerOf('godwit:DescribeStore', {}, ['store', 'images']));
  const key = keys.data?.keys.find((each) => each.default);
  return (
    <SpaceBetween size="l">
      <Container header={<Header variant="h2" description={t.hint}>{t.title}</Header>}>
        <KeyValuePairs
          columns={3}
          items={[
            { label: t.role, value: wizard.review.defaultRole },
            { label: t.key, value: key ? (key.aliases[0] ?? key.keyId) : '–' },
            { label: t.cap, value: limits.data?.bandwidthCap ?? settings.limits.none },
            { label: t.staging, value: store.data ? duration(store.data.content.stagingHours * 3_600) : '–' },
            { label: t.version, value: session.version },
            { label: t.clock, value: absolute(now) },
            { label: t.session, value: <><When time={session.endsAt} both /> {t.sessionIdle} {absolute(session.expiresAt)}</> },
          ]}
        />
      </Container>
      <InForce />
    </SpaceBetween>
  );
}
