// How states are called: the words of the seed service's console, which filters understand too. Pure.

import type { ConnectorDescription, JobDescription, ReplicationJobState, ReplicationRunState, RunDescription, VerificationState } from '../api/generated/shapes';
import { words } from '../strings/words';

export type Tone = 'success' | 'error' | 'warning' | 'info' | 'in-progress' | 'pending' | 'stopped' | 'loading';

/** `PAUSED_ON_FAILURE` is `PausedOnFailure`. */
export function displayCase(state: string): string {
  return state.split(/[_-]/).map((word) => word.charAt(0) + word.slice(1).toLowerCase()).join('');
}

const JOB_TONES: Record<ReplicationJobState, Tone> = {
  PENDING: 'pending',
  ACTIVE: 'success',
  PAUSED_ON_FAILURE: 'warning',
  FAILING: 'error',
  FAILED: 'error',
  DELETING: 'in-progress',
  DELETED: 'stopped',
  COMPLETED: 'success',
};

const RUN_TONES: Record<ReplicationRunState, Tone> = {
  PENDING: 'pending',
  MISSED: 'warning',
  ACTIVE: 'in-progress',
  FAILED: 'error',
  COMPLETED: 'success',
  DELETING: 'in-progress',
  DELETED: 'stopped',
};

const VERIFICATION_TONES: Record<VerificationState, Tone> = {
  UNVERIFIED: 'success',
  RUNNING: 'in-progress',
  VERIFIED: 'success',
  DAMAGED: 'error',
  FAILED: 'warning',
};

export const jobTone = (job: Pick<JobDescription, 'state'>): Tone => JOB_TONES[job.state];
export const runTone = (run: Pick<RunDescription, 'state'>): Tone => RUN_TONES[run.state];
export const verificationTone = (state: VerificationState): Tone => VERIFICATION_TONES[state];
/** Nobody asked for a verification: that is the one of the run that made the image. */
export const verificationName = (state: VerificationState) => (state === 'UNVERIFIED' ? words.byItsRun : displayCase(state));
export const connectorTone = (connector: Pick<ConnectorDescription, 'status'>): Tone =>
  connector.status === 'HEALTHY' ? 'success' : 'error';

/** The stages of a run, in their order. */
export const STAGES = ['Validating', 'Snapshotting', 'Transferring', 'Verifying', 'Registering', 'Cleaning'] as const;

type Sum = 'bytesTotal' | 'bytesDone' | 'bytesRead' | 'bytesSent' | 'bytesStored' | 'bytesResent' | 'bytesVerified';

/** A figure over all volumes of a run. */
export const sum = (run: Pick<RunDescription, 'volumes'>, figure: Sum) =>
  run.volumes.reduce((all, volume) => all + volume[figure], 0);

/** Seconds from begin to end, or to now. */
export function runSeconds(run: Pick<RunDescription, 'startedOn' | 'completedTime'>, now: number): number | undefined {
  return run.startedOn === undefined ? undefined : Math.max(0, (run.completedTime ?? now) - run.startedOn);
}

export const platformName = (platform: string | undefined) => (platform === undefined ? words.unknown : (words.platforms[platform] ?? platform));

export const consistencyName = (consistency: string) => words.consistencies[consistency] ?? consistency;
