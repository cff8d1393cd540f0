// Throughput and changed bytes of completed runs, a line for each job.

import Box from '@cloudscape-design/components/box';
import Grid from '@cloudscape-design/components/grid';
import Header from '@cloudscape-design/components/header';
import LineChart from '@cloudscape-design/components/line-chart';
import { useMemo } from 'react';
import type { RunDescription } from '../../api/generated/shapes';
import { short } from '../../components/format';
import { overview as t } from '../../strings/overview';
import { changedMiB, type Series, seriesOf, throughput } from './series';

const JOBS = 5;

type Props = { runs: readonly RunDescription[]; names: ReadonlyMap<string, string> };

export default function Charts({ runs, names }: Props) {
  const pace = useMemo(() => seriesOf(runs, throughput, JOBS), [runs]);
  const changed = useMemo(() => seriesOf(runs, changedMiB, JOBS), [runs]);
  if (changed.length === 0) return <Box color="text-body-secondary">{t.noCharts}</Box>;
  return (
    <Grid gridDefinition={[{ colspan: { default: 12, s: 6 } }, { colspan: { default: 12, s: 6 } }]}>
      <Lines title={t.throughput} series={pace} names={names} />
      <Lines title={t.changed} series={changed} names={names} />
    </Grid>
  );
}

export function Lines({ title, series, names, x = t.whenLabel }: { title: string; series: readonly Series[]; names: ReadonlyMap<string, string>; x?: string }) {
  const all = series.flatMap(({ points }) => points);
  const times = all.map((point) => point.x.getTime());
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const highest = Math.max(...all.map((point) => point.y), 0);
  // A single point needs a span to stand in.
  const margin = first === last ? 1_800_000 : 0;
  return (
    <div>
      <Header variant="h3">{title}</Header>
      <LineChart
        height={200}
        hideFilter
        ariaLabel={title}
        xScaleType="time"
        xTitle={x}
        xDomain={all.length === 0 ? undefined : [new Date(first - margin), new Date(last + margin)]}
        yDomain={[0, highest === 0 ? 1 : highest * 1.1]}
        i18nStrings={{ xTickFormatter: (date) => short(date.getTime() / 1000), yTickFormatter: number }}
        series={series.map(({ jobId, points }) => ({ type: 'line', title: names.get(jobId) ?? jobId, data: points, valueFormatter: number }))}
        empty={t.noCharts}
      />
    </div>
  );
}

const number = (value: number) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
