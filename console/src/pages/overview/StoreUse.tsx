// What the store holds and what for, now and over time.

import Box from '@cloudscape-design/components/box';
import Container from '@cloudscape-design/components/container';
import Grid from '@cloudscape-design/components/grid';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SegmentedControl from '@cloudscape-design/components/segmented-control';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import { lazy, Suspense, useMemo, useState } from 'react';
import type { DescribeStoreResponse, DescribeStoreUseResponse } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, percent, relative } from '../../components/format';
import { Go } from '../../components/Go';
import { When } from '../../components/When';
import { serverNow, useNow } from '../../state/clock';
import { answerOf, type Result, useQuery } from '../../state/query';
import { overview as t } from '../../strings/overview';
import { COLOURS, PARTS, partsNow, requestOf, type Span, SPANS, within } from './use';

const UseChart = lazy(() => import('./UseChart'));

export function StoreUse({ store }: { store: Result<DescribeStoreResponse> }) {
  return (
    <Container header={<Header variant="h2" actions={<Go to="/settings?tab=store">{t.toStore}</Go>}>{t.store}</Header>}>
      <Grid gridDefinition={[{ colspan: { default: 12, s: 5 } }, { colspan: { default: 12, s: 7 } }]}>
        {store.error && !store.data ? <ErrorBox error={store.error} what={t.store} again={store.again} /> : store.data ? <Now answer={store.data} /> : <Spinner />}
        <OverTime />
      </Grid>
    </Container>
  );
}

function Now({ answer }: { answer: DescribeStoreResponse }) {
  const { content, lastSweep, nextSweepOn } = answer;
  const held = partsNow(answer);
  const total = PARTS.reduce((sum, part) => sum + held[part], 0);
  let x = 0;
  return (
    <SpaceBetween size="m">
      <Box variant="awsui-value-large">{t.storeTotal(bytes(content.all.bytes), content.all.packs)}</Box>
      <svg className="gw-bar" viewBox="0 0 100 10" preserveAspectRatio="none" width="100%" role="img" aria-label={PARTS.map((part) => `${t.storeKinds[part]}: ${bytes(held[part])}`).join(', ')}>
        {PARTS.map((part) => {
          const width = percent(held[part], total);
          const rect = <rect key={part} x={x} y={0} width={width} height={10} fill={COLOURS[part]} />;
          x += width;
          return rect;
        })}
      </svg>
      <KeyValuePairs
        columns={2}
        items={[
          ...PARTS.map((part) => ({
            label: t.storeKinds[part],
            value: <><svg className="gw-swatch" viewBox="0 0 12 12" aria-hidden="true"><rect width="12" height="12" rx="3" fill={COLOURS[part]} /></svg>{bytes(held[part])}</>,
          })),
          { label: t.lastSweep, value: <When time={lastSweep?.endedOn ?? lastSweep?.startedOn} /> },
          { label: t.nextSweep, value: <When time={nextSweepOn} /> },
        ]}
      />
    </SpaceBetween>
  );
}

function OverTime() {
  const [span, setSpan] = useState<Span>('week');
  // Asked for from the moment on at which it was chosen: what is read again is the same.
  const request = useMemo(() => requestOf(span, serverNow()), [span]);
  const use = useQuery(answerOf('godwit:DescribeStoreUse', request, ['storeUse']));
  return (
    <SpaceBetween size="s">
      <Header
        variant="h3"
        actions={
          <SegmentedControl
            label={t.use.span}
            selectedId={span}
            onChange={({ detail }) => setSpan(detail.selectedId as Span)}
            options={(Object.keys(SPANS) as Span[]).map((id) => ({ id, text: t.use.spans[id] }))}
          />
        }
      >
        {t.use.title}
      </Header>
      {use.error ? <ErrorBox error={use.error} what={t.use.title} again={use.again} stale={!!use.data} /> : null}
      {use.data ? <Curve answer={use.data} span={span} /> : use.error ? null : <Spinner />}
    </SpaceBetween>
  );
}

function Curve({ answer, span }: { answer: DescribeStoreUseResponse; span: Span }) {
  const now = useNow(60);
  const points = useMemo(() => within(answer.points, span, now), [answer, span, now]);
  // A line needs two ends.
  if (points.length < 2) {
    const next = answer.nextOn === undefined ? undefined : relative(Math.max(answer.nextOn, now), now);
    return <Box color="text-body-secondary">{t.use.few(points.length, answer.everyMinutes, next)}</Box>;
  }
  return <Suspense fallback={<Spinner />}><UseChart points={points} /></Suspense>;
}
