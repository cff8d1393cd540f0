import { expect, it } from 'vitest';
import type { RunDescription } from '../api/generated/shapes';
import { displayCase, platformName, runSeconds, sum } from './names';

it('states are called as the seed service\'s console called them', () => {
  expect(['PAUSED_ON_FAILURE', 'ACTIVE', 'NOT_IMPORTED', 'ON_DEMAND'].map(displayCase)).toEqual(['PausedOnFailure', 'Active', 'NotImported', 'OnDemand']);
});

it('a platform that is not known is called that', () => {
  expect([platformName('WINDOWS_SERVER'), platformName(undefined), platformName('BEOS')]).toEqual(['Windows server', 'Unknown', 'BEOS']);
});

it('a run lasts from its begin to its end, or to now', () => {
  expect([runSeconds({ startedOn: 10, completedTime: 25 }, 99), runSeconds({ startedOn: 10 }, 99), runSeconds({ startedOn: 10 }, 5), runSeconds({}, 99)]).toEqual([15, 89, 0, undefined]);
});

it('figures count over all volumes', () => {
  const volume = { device: 'vda', bytesTotal: 0, bytesDone: 0, bytesRead: 3, bytesSent: 0, bytesStored: 1, bytesResent: 0, bytesVerified: 0, tracked: true, notes: [] };
  const run: Pick<RunDescription, 'volumes'> = { volumes: [volume, { ...volume, device: 'vdb', bytesRead: 4 }] };
  expect([sum(run, 'bytesRead'), sum(run, 'bytesStored')]).toEqual([7, 2]);
});
