// What the store holds and what for, and how it grew.

import Box from '@cloudscape-design/components/box';
import Container from '@cloudscape-design/components/container';
import Grid from '@cloudscape-design/components/grid';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import { lazy, Suspense, useMemo } from 'react';
import type { DescribeStoreResponse } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, percent } from '../../components/format';
import { Go } from '../../components/Go';
import { When } from '../../components/When';
import { listOf, type Result, useQuery } from '../../state/query';
import { overview as t } from '../../strings/overview';
import { growth } from './series';

const Lines = lazy(async () => ({ default: (await import('./Charts')).Lines }));

const COLOURS = { live: '#0972d3', dead: '#8793a5', staged: '#b88300', free: '#c2410c' };

export function StoreUse({ store }: { store: Result<DescribeStoreResponse> }) {
  return (
    <Container header={<Header variant="h2" actions={<Go to="/settings?tab=store">{t.toStore}</Go>}>{t.store}</Header>}>
      {store.error && !store.data ? <ErrorBox error={store.error} what={t.store} again={store.again} /> : store.data ? <Use answer={store.data} /> : <Spinner />}
    </Container>
  );
}

/** What the store holds, in parts that do not overlap. */
function parts({ content }: DescribeStoreResponse) {
  return [
    { id: 'live' as const, bytes: Math.max(0, content.named.bytes - content.deadBytes) },
    { id: 'dead' as const, bytes: content.deadBytes },
    { id: 'staged' as const, bytes: content.staged.bytes + content.waiting.bytes + content.doubtful.bytes },
    { id: 'free' as const, bytes: content.released.bytes + content.expired.bytes },
  ];
}

function Use({ answer }: { answer: DescribeStoreResponse }) {
  const { content, lastSweep, nextSweepOn } = answer;
  const snapshots = useQuery(listOf('godwit:DescribeSnapshots', {}, (each) => each.snapshots, ['snapshots'], 10_000));
  const points = useMemo(() => growth(snapshots.data ?? []), [snapshots.data]);
  const all = parts(answer);
  const total = all.reduce((sum, part) => sum + part.bytes, 0);
  let x = 0;
  return (
    <Grid gridDefinition={[{ colspan: { default: 12, s: 6 } }, { colspan: { default: 12, s: 6 } }]}>
      <SpaceBetween size="m">
        <Box variant="awsui-value-large">{t.storeTotal(bytes(content.all.bytes), content.all.packs)}</Box>
        <svg className="gw-bar" viewBox="0 0 100 10" preserveAspectRatio="none" width="100%" role="img" aria-label={all.map((part) => `${t.storeKinds[part.id]}: ${bytes(part.bytes)}`).join(', ')}>
          {all.map((part) => {
            const width = percent(part.bytes, total);
            const rect = <rect key={part.id} x={x} y={0} width={width} height={10} fill={COLOURS[part.id]} />;
            x += width;
            return rect;
          })}
        </svg>
        <KeyValuePairs
          columns={2}
          items={[
            ...all.map((part) => ({
              label: t.storeKinds[part.id],
              value: <><svg className="gw-swatch" viewBox="0 0 12 12" aria-hidden="true"><rect width="12" height="12" rx="3" fill={COLOURS[part.id]} /></svg>{bytes(part.bytes)}</>,
            })),
            { label: t.lastSweep, value: <When time={lastSweep?.endedOn ?? lastSweep?.startedOn} /> },
            { label: t.nextSweep, value: <When time={nextSweepOn} /> },
          ]}
        />
      </SpaceBetween>
      {points.length > 0 ? (
        <Suspense fallback={<Spinner />}><Lines title={t.growth} series={[{ jobId: t.store, points }]} names={NO_NAMES} x={t.growthLabel} /></Suspense>
      ) : <div />}
    </Grid>
  );
}

const NO_NAMES: ReadonlyMap<string, string> = new Map();
