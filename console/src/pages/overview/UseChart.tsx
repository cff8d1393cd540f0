// The use of the store over time: its parts on top of each other, and the same in figures.

import AreaChart from '@cloudscape-design/components/area-chart';
import ExpandableSection from '@cloudscape-design/components/expandable-section';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Table from '@cloudscape-design/components/table';
import { useMemo } from 'react';
import type { StoreUsePoint } from '../../api/generated/shapes';
import { absolute, bytes, grouped, short } from '../../components/format';
import { overview as t } from '../../strings/overview';
import { areasOf, COLOURS, PARTS, partsThen, rowsOf, scaleOf } from './use';

/** Rows of figures: more are for the command line. */
const ROWS = 24;

export default function UseChart({ points }: { points: readonly StoreUsePoint[] }) {
  const scale = useMemo(() => scaleOf(points), [points]);
  const areas = useMemo(() => areasOf(points, scale), [points, scale]);
  const rows = useMemo(() => rowsOf(points, ROWS), [points]);
  const [first, last] = [points[0], points[points.length - 1]];
  if (!first || !last) return null;
  const highest = Math.max(...points.map((point) => point.bytes)) / scale.factor;
  const amount = (y: number) => bytes(y * scale.factor);
  return (
    <SpaceBetween size="s">
      <AreaChart
        height={200}
        hideFilter
        ariaLabel={t.use.title}
        ariaDescription={t.use.summary(bytes(first.bytes), absolute(first.at), bytes(last.bytes), absolute(last.at))}
        xScaleType="time"
        xTitle={t.use.when}
        yTitle={scale.unit}
        xDomain={[new Date(first.at * 1000), new Date(last.at * 1000)]}
        yDomain={[0, highest === 0 ? 1 : highest * 1.1]}
        i18nStrings={{ xTickFormatter: (date) => short(date.getTime() / 1000), yTickFormatter: axis, detailTotalLabel: t.use.total, detailTotalFormatter: amount }}
        series={areas.map((area) => ({ type: 'area', title: t.storeKinds[area.part], color: COLOURS[area.part], data: area.points, valueFormatter: amount }))}
      />
      <ExpandableSection headerText={t.use.figures} variant="footer">
        <Table
          variant="embedded"
          items={rows}
          trackBy={(row) => String(row.at)}
          ariaLabels={{ tableLabel: t.use.figures }}
          columnDefinitions={[
            { id: 'at', header: t.use.when, cell: (row) => absolute(row.at), isRowHeader: true },
            { id: 'all', header: t.use.total, cell: (row) => bytes(row.bytes) },
            ...PARTS.map((part) => ({ id: part, header: t.storeKinds[part], cell: (row: StoreUsePoint) => bytes(partsThen(row)[part]) })),
            { id: 'packs', header: t.use.packs, cell: (row) => grouped(row.packs) },
          ]}
        />
      </ExpandableSection>
    </SpaceBetween>
  );
}

const axis = (value: number) => grouped(value, 2);
