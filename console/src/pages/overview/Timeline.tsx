// Runs of the last day and the next half day, a lane for each job.

import Box from '@cloudscape-design/components/box';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useMemo } from 'react';
import type { RunDescription, ReplicationRunState } from '../../api/generated/shapes';
import { absolute, short } from '../../components/format';
import { displayCase } from '../../components/names';
import { navigate } from '../../routes/router';
import { useNow } from '../../state/clock';
import { overview as t } from '../../strings/overview';
import { AHEAD, DAY, lanes } from './series';

const LANES = 12;
const LANE = 26;
const LABEL = 150;
const WIDTH = 1000;
const TOP = 24;
const NARROWEST = 5;
const LEGEND: ReplicationRunState[] = ['COMPLETED', 'ACTIVE', 'FAILED', 'MISSED', 'PENDING'];

type Props = { runs: readonly RunDescription[]; names: ReadonlyMap<string, string> };

export function Timeline({ runs, names }: Props) {
  const now = useNow(10);
  const drawn = useMemo(() => lanes(runs, now, LANES), [runs, now]);
  if (drawn.length === 0) return <Box color="text-body-secondary">{t.timelineEmpty}</Box>;
  const x = (share: number) => LABEL + share * (WIDTH - LABEL - 10);
  const height = TOP + drawn.length * LANE + 4;
  const ticks = Array.from({ length: 7 }, (_, n) => n / 6);
  const count = drawn.reduce((all, lane) => all + lane.bars.length, 0);
  return (
    <SpaceBetween size="xs">
      <div className="gw-timeline" tabIndex={0} role="group" aria-label={t.timelineLabel(count, drawn.length)}>
        <svg viewBox={`0 0 ${WIDTH} ${height}`} role="presentation">
          {ticks.map((share) => (
            <g key={share}>
              <line className="axis" x1={x(share)} x2={x(share)} y1={TOP - 4} y2={height} />
              <text x={x(share)} y={14} textAnchor={share === 1 ? 'end' : 'middle'}>{short(now - DAY + share * (DAY + AHEAD))}</text>
            </g>
          ))}
          <line className="now" x1={x(DAY / (DAY + AHEAD))} x2={x(DAY / (DAY + AHEAD))} y1={TOP - 4} y2={height}><title>{t.nowMark}</title></line>
          {drawn.map((lane, n) => (
            <g key={lane.jobId}>
              <text x={0} y={TOP + n * LANE + 17}>{cut(names.get(lane.jobId) ?? lane.jobId)}</text>
              {lane.bars.map(({ run, from, to }) => (
                <rect
                  key={run.replicationRunId}
                  className={`gw-run-${run.state}`}
                  x={x(from)}
                  y={TOP + n * LANE + 5}
                  width={Math.max(NARROWEST, x(to) - x(from))}
                  height={LANE - 12}
                  rx={3}
                  cursor="pointer"
                  onClick={() => navigate(`/jobs?job=${lane.jobId}&tab=history`)}
                >
                  <title>{t.bar(names.get(lane.jobId) ?? lane.jobId, run.replicationRunId, displayCase(run.state), absolute(run.startedOn ?? run.scheduledStartTime))}</title>
                </rect>
              ))}
            </g>
          ))}
        </svg>
      </div>
      <SpaceBetween direction="horizontal" size="m">
        {LEGEND.map((state) => (
          <Box key={state} fontSize="body-s"><svg className="gw-swatch" viewBox="0 0 12 12" aria-hidden="true"><rect className={`gw-run-${state}`} x="1" y="1" width="10" height="10" rx="3" /></svg>{displayCase(state)}</Box>
        ))}
      </SpaceBetween>
    </SpaceBetween>
  );
}

const cut = (name: string) => (name.length > 20 ? `${name.slice(0, 19)}…` : name);
