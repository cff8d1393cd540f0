// A time: how far away it is, and exactly when. Relative times go by the service's clock.

import { useNow } from '../state/clock';
import { absolute, duration, relative, short } from './format';

type Props = {
  time: number | undefined;
  /** What stands there if there is no time. */
  otherwise?: string;
  /** Both forms are written out; `short`: day and minute are enough, as in a table. */
  both?: boolean | 'short';
};

export function When({ time, otherwise = '–', both = false }: Props) {
  if (time === undefined) return <>{otherwise}</>;
  return both ? <Both time={time} exactly={both === 'short' ? short(time) : absolute(time)} /> : <Relative time={time} />;
}

function Relative({ time }: { time: number }) {
  const now = useNow();
  return (
    <time dateTime={new Date(time * 1000).toISOString()} title={absolute(time)} className="gw-time">
      {relative(time, now)}
    </time>
  );
}

function Both({ time, exactly }: { time: number; exactly: string }) {
  const now = useNow();
  return (
    <time dateTime={new Date(time * 1000).toISOString()} title={absolute(time)}>
      {relative(time, now)} <span className="gw-quiet">({exactly})</span>
    </time>
  );
}

/** How long something has lasted that is still at work. */
export function Since({ time }: { time: number }) {
  const now = useNow();
  return <>{duration(Math.max(0, now - time))}</>;
}
