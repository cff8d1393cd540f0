// From bar to bar of the timeline by the keyboard. Pure.

import type { Bar, Lane } from './series';

const idOf = (bar: Bar | undefined) => bar?.run.replicationRunId;

/** Of all bars one alone is reached by the tab key: the one that was reached last, as long as it is drawn. */
export function stop(lanes: readonly Lane[], last: string | undefined): string | undefined {
  const isDrawn = last !== undefined && lanes.some((lane) => lane.bars.some((bar) => idOf(bar) === last));
  return isDrawn ? last : idOf(lanes[0]?.bars[0]);
}

/**
 * The bar that a key leads to from another one; nothing if it leads nowhere. Left and right go along the job, up and
 * down to the bar of the next job that begins nearest, Home and End to the job's first and last one.
 */
export function step(lanes: readonly Lane[], from: string, key: string): string | undefined {
  const n = lanes.findIndex((lane) => lane.bars.some((bar) => idOf(bar) === from));
  const bars = lanes[n]?.bars ?? [];
  const at = bars.findIndex((bar) => idOf(bar) === from);
  const bar = bars[at];
  if (!bar) return undefined;
  switch (key) {
    case 'ArrowRight': return idOf(bars[at + 1]);
    case 'ArrowLeft': return idOf(bars[at - 1]);
    case 'ArrowDown': return idOf(nearest(lanes[n + 1], bar));
    case 'ArrowUp': return idOf(nearest(lanes[n - 1], bar));
    case 'Home': return idOf(bars[0]);
    case 'End': return idOf(bars[bars.length - 1]);
    default: return undefined;
  }
}

function nearest(lane: Lane | undefined, to: Bar): Bar | undefined {
  let best: Bar | undefined;
  for (const bar of lane?.bars ?? []) {
    if (!best || Math.abs(bar.from - to.from) < Math.abs(best.from - to.from)) best = bar;
  }
  return best;
}
