// States with their colour and sign.

import StatusIndicator from '@cloudscape-design/components/status-indicator';
import type { ReactNode } from 'react';
import type { ReplicationJobState, ReplicationRunState } from '../api/generated/shapes';
import { displayCase, jobTone, runTone, type Tone } from './names';

export function Status({ tone, children }: { tone: Tone; children: ReactNode }) {
  return <StatusIndicator type={tone}>{children}</StatusIndicator>;
}

export const JobState = ({ state }: { state: ReplicationJobState }) => (
  <Status tone={jobTone({ state })}>{displayCase(state)}</Status>
);

export const RunState = ({ state }: { state: ReplicationRunState }) => (
  <Status tone={runTone({ state })}>{displayCase(state)}</Status>
);
