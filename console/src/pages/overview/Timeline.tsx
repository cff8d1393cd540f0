// Runs of the last day and the next half day, a lane for each job. One bar is reached by the tab key, the others from
// there by the arrows; what is focused is told in words below.

import Box from '@cloudscape-design/components/box';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { type KeyboardEvent, useId, useMemo, useRef, useState } from 'react';
import type { RunDescription, ReplicationRunState } from '../../api/generated/shapes';
import { absolute, short } from '../../components/format';
import { displayCase } from '../../components/names';
import { navigate } from '../../routes/router';
import { useNow } from '../../state/clock';
import { overview as t } from '../../strings/overview';
import { AHEAD, DAY, lanes } from './series';
import { step, stop } from './walk';

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
  const [last, setLast] = useState<string>();
  const [isFocused, setIsFocused] = useState(false);
  const bars = useRef(new Map<string, SVGRectElement>());
  const hint = useId();
  if (drawn.length === 0) return <Box color="text-body-secondary">{t.timelineEmpty}</Box>;
  const x = (share: number) => LABEL + share * (WIDTH - LABEL - 10);
  const height = TOP + drawn.length * LANE + 4;
  const ticks = Array.from({ length: 7 }, (_, n) => n / 6);
  const count = drawn.reduce((all, lane) => all + lane.bars.length, 0);
  const reached = stop(drawn, last);
  const nameOf = (jobId: string) => names.get(jobId) ?? jobId;
  const told = (jobId: string, run: RunDescription) => t.bar(nameOf(jobId), run.replicationRunId, displayCase(run.state), absolute(run.startedOn ?? run.scheduledStartTime));
  const focused = isFocused ? drawn.flatMap((lane) => lane.bars.filter(({ run }) => run.replicationRunId === reached).map(({ run }) => told(lane.jobId, run)))[0] : undefined;
  const open = (jobId: string, run: RunDescription) => navigate(`/jobs?job=${jobId}&tab=history&run=${run.replicationRunId}`);
  const press = (event: KeyboardEvent, jobId: string, run: RunDescription) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'Enter') {
      open(jobId, run);
      return;
    }
    const next = step(drawn, run.replicationRunId, event.key);
    if (next === undefined) return;
    // Otherwise the page scrolls.
    event.preventDefault();
    bars.current.get(next)?.focus();
  };
  return (
    <SpaceBetween size="xs">
      <div className="gw-timeline" role="group" aria-label={t.timelineLabel(count, drawn.length)} aria-describedby={hint}>
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
              <text x={0} y={TOP + n * LANE + 17}>{cut(nameOf(lane.jobId))}</text>
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
                  role="link"
                  aria-label={told(lane.jobId, run)}
                  tabIndex={run.replicationRunId === reached ? 0 : -1}
                  ref={(element) => {
                    if (element) bars.current.set(run.replicationRunId, element);
                    else bars.current.delete(run.replicationRunId);
                  }}
                  onClick={() => open(lane.jobId, run)}
                  onKeyDown={(event) => press(event, lane.jobId, run)}
                  onFocus={() => { setLast(run.replicationRunId); setIsFocused(true); }}
                  onBlur={() => setIsFocused(false)}
                >
                  <title>{told(lane.jobId, run)}</title>
                </rect>
              ))}
            </g>
          ))}
        </svg>
      </div>
      <Box fontSize="body-s" color="text-body-secondary">
        <span id={hint} hidden={focused !== undefined}>{t.timelineKeys}</span>
        {/* A screen reader has said it already: the bar is called so. */}
        {focused === undefined ? null : <span aria-hidden="true">{focused}</span>}
      </Box>
      <SpaceBetween direction="horizontal" size="m">
        {LEGEND.map((state) => (
          <Box key={state} fontSize="body-s"><svg className="gw-swatch" viewBox="0 0 12 12" aria-hidden="true"><rect className={`gw-run-${state}`} x="1" y="1" width="10" height="10" rx="3" /></svg>{displayCase(state)}</Box>
        ))}
      </SpaceBetween>
    </SpaceBetween>
  );
}

const cut = (name: string) => (name.length > 20 ? `${name.slice(0, 19)}…` : name);
