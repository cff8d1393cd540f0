// How things are: what needs attention, what ran, what comes next, how much changes, how full the store is.

import Box from '@cloudscape-design/components/box';
import Container from '@cloudscape-design/components/container';
import ContentLayout from '@cloudscape-design/components/content-layout';
import Grid from '@cloudscape-design/components/grid';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import StatusIndicator from '@cloudscape-design/components/status-indicator';
import { lazy, Suspense, useMemo } from 'react';
import type { RunDescription } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, duration, grouped } from '../../components/format';
import { Go } from '../../components/Go';
import { When } from '../../components/When';
import { useNow } from '../../state/clock';
import { answerOf, listOf, useQuery } from '../../state/query';
import { overview as t } from '../../strings/overview';
import { connectorsQuery } from '../connectors/query';
import { imagesQuery } from '../images/query';
import { jobsQuery } from '../jobs/query';
import { serversQuery } from '../servers/query';
import { attention, type Attention } from './attention';
import { FirstSteps } from './FirstSteps';
import { lastDay } from './series';
import { StoreUse } from './StoreUse';
import { Timeline } from './Timeline';

const Charts = lazy(() => import('./Charts'));

/** As many of the newest runs as are looked at. */
const RUNS = 5_000;
const SHOWN = 8;

export const runsQuery = listOf('godwit:DescribeReplicationRuns', {}, (answer) => answer.runs, ['runs'], RUNS);

export default function OverviewPage() {
  const connectors = useQuery(connectorsQuery);
  const jobs = useQuery(jobsQuery);
  const images = useQuery(imagesQuery);
  const catalog = useQuery(serversQuery);
  const runs = useQuery(runsQuery);
  const store = useQuery(answerOf('godwit:DescribeStore', {}, ['store', 'images']));
  const scrub = useQuery(answerOf('godwit:DescribeScrub', {}, ['store']));
  const givenUp = useQuery(listOf('godwit:DescribeNotifications', { state: 'GIVEN_UP' }, (answer) => answer.notifications, ['notifications'], 1000));

  const found = useMemo(
    () =>
      attention({
        connectors: connectors.data, jobs: jobs.data, images: images.data, catalog: catalog.data?.status, givenUp: givenUp.data,
        store: store.data?.content, scrub: scrub.data,
      }),
    [connectors.data, jobs.data, images.data, catalog.data, givenUp.data, store.data, scrub.data],
  );
  // One button for all that this page is about: what failed is asked for again.
  const again = () => [connectors, jobs, images, catalog, scrub, givenUp].forEach((each) => each.error && each.again());
  const isNew = images.data?.length === 0;
  const loading = jobs.loading || connectors.loading;
  const names = useMemo(() => new Map(jobs.data?.map((job) => [job.replicationJobId, job.serverName])), [jobs.data]);

  return (
    <ContentLayout header={<Header variant="h1">{t.title}</Header>}>
      <SpaceBetween size="l">
        {isNew && connectors.data && catalog.data && jobs.data ? (
          <FirstSteps connectors={connectors.data.length} servers={catalog.data.servers.length} jobs={jobs.data.filter((job) => job.state !== 'DELETED').length} />
        ) : null}
        <Grid gridDefinition={[{ colspan: { default: 12, s: 7 } }, { colspan: { default: 12, s: 5 } }]}>
          <Container fitHeight header={<Header variant="h2" counter={found.length > 0 ? `(${found.length})` : undefined}>{t.attention}</Header>}>
            <ErrorBox error={jobs.error ?? connectors.error} what={t.attention} again={again} />
            {loading ? <Spinner /> : <AttentionList found={found} />}
          </Container>
          <Container fitHeight header={<Header variant="h2">{t.day}</Header>}>
            {runs.error && !runs.data ? <ErrorBox error={runs.error} what={t.day} again={runs.again} /> : runs.data ? <LastDay runs={runs.data} /> : <Spinner />}
          </Container>
        </Grid>
        <Container header={<Header variant="h2" description={t.timelineHint}>{t.timeline}</Header>}>
          {runs.data ? <Timeline runs={runs.data} names={names} /> : runs.error ? null : <Spinner />}
        </Container>
        <Container header={<Header variant="h2" description={t.chartsHint}>{t.charts}</Header>}>
          <Suspense fallback={<Spinner />}>{runs.data ? <Charts runs={runs.data} names={names} /> : runs.error ? null : <Spinner />}</Suspense>
        </Container>
        <StoreUse store={store} />
      </SpaceBetween>
    </ContentLayout>
  );
}

function AttentionList({ found }: { found: readonly Attention[] }) {
  if (found.length === 0) return <StatusIndicator type="success">{t.allWell}</StatusIndicator>;
  return (
    <SpaceBetween size="s">
      {found.slice(0, SHOWN).map((item) => (
        <div key={item.id}>
          <StatusIndicator type={item.urgency}><Go to={item.to}>{item.what}</Go></StatusIndicator>
          {item.why ? <Box color="text-body-secondary" fontSize="body-s" padding={{ left: 'l' }}>{item.why}</Box> : null}
        </div>
      ))}
      {found.length > SHOWN ? <Box color="text-body-secondary">{t.more(found.length - SHOWN)}</Box> : null}
    </SpaceBetween>
  );
}

function LastDay({ runs }: { runs: readonly RunDescription[] }) {
  const now = useNow(30);
  const counts = useMemo(() => lastDay(runs, now), [runs, now]);
  const number = (n: number, tone: 'success' | 'error' | 'warning' | 'in-progress') => (
    <StatusIndicator type={n === 0 ? 'stopped' : tone} colorOverride={n === 0 ? 'grey' : undefined}>{grouped(n)}</StatusIndicator>
  );
  return (
    <KeyValuePairs
      columns={2}
      items={[
        { label: t.figures.completed, value: number(counts.completed, 'success') },
        { label: t.figures.active, value: number(counts.active, 'in-progress') },
        { label: t.figures.failed, value: number(counts.failed, 'error') },
        { label: t.figures.missed, value: number(counts.missed, 'warning') },
        { label: `${t.figures.read} / ${t.figures.stored}`, value: `${bytes(counts.read)} / ${bytes(counts.stored)}` },
        { label: t.figures.next, value: counts.next === undefined ? '–' : <><When time={counts.next} /> <span className="gw-visually-hidden">{duration(counts.next - now)}</span></> },
      ]}
    />
  );
}
