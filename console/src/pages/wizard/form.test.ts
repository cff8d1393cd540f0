import { describe, expect, it } from 'vitest';
import type { JobDescription } from '../../api/generated/shapes';
import { createRequest, formOf, isRecipient, licenceOf, licencesFor, localParts, localSeconds, NEW_JOB, problems, updateRequest, type JobForm } from './form';

const NOW = 1_795_000_000;
const with_ = (fields: Partial<JobForm>): JobForm => ({ ...NEW_JOB, ...fields });

const JOB: JobDescription = {
  replicationJobId: 'sms-job-1', serverId: 's-1', serverName: 'web', state: 'ACTIVE', stateSince: 0, seedReplicationTime: NOW,
  intervalMinutes: 720, runOnce: false, licenseChosen: true, licenseType: 'BYOL', roleName: 'sms', recipients: ['a@example.org'],
  pauseOnFailure: true, pauseAfterFailures: 3, failures: 0, createdOn: NOW,
};

describe('the form of a new job', () => {
  it('sends only what was chosen', () => {
    expect(createRequest(NEW_JOB, 's-1', 'AUTO')).toEqual({ serverId: 's-1', frequency: 12 });
  });
  it('sends all that was chosen, in the members of the API', () => {
    const form = with_({
      every: '90', unit: 'minutes', start: 'later', date: '2026-11-20', time: '09:30', ownRole: true, roleName: 'mover', description: ' night ',
      keepsNewest: true, keep: '3', encrypted: true, kmsKeyId: 'alias/hr', recipients: ['ops@example.org'], pauseAfter: '2', cap: ' 20MB/s ',
    });
    expect(createRequest(form, 's-1', 'BYOL')).toEqual({
      serverId: 's-1', intervalMinutes: 90, seedReplicationTime: Date.UTC(2026, 10, 20, 8, 30) / 1000, licenseType: 'BYOL', roleName: 'mover',
      description: 'night', numberOfRecentAmisToKeep: 3, encrypted: true, kmsKeyId: 'alias/hr', recipients: ['ops@example.org'],
      pauseAfterFailures: 2, bandwidthCap: '20MB/s',
    });
  });
  it('has no interval and no pause for one run', () => {
    expect(createRequest(with_({ repeats: false, pauses: false, pauseAfter: '2' }), 's-1', 'AUTO')).toEqual({ serverId: 's-1', runOnce: true });
  });
  it('fails instead of pausing if that is wanted', () => {
    expect(createRequest(with_({ pauses: false, pauseAfter: '2' }), 's-1', 'AUTO')).toEqual({ serverId: 's-1', frequency: 12, pauseOnFailure: false });
  });
});

describe('what is wrong', () => {
  const wrong = (fields: Partial<JobForm>) => Object.keys(problems(with_(fields), NOW));
  it('is nothing at first', () => expect(problems(NEW_JOB, NOW)).toEqual({}));
  it('is said beside its field', () => {
    expect(wrong({ every: '0' })).toEqual(['frequency']);
    expect(wrong({ every: '25' })).toEqual(['frequency']);
    expect(wrong({ every: '25', unit: 'minutes' })).toEqual([]);
    expect(wrong({ every: '43201', unit: 'minutes' })).toEqual(['intervalMinutes']);
    expect(wrong({ every: '1.5' })).toEqual(['frequency']);
    expect(wrong({ ownRole: true })).toEqual(['roleName']);
    expect(wrong({ keepsNewest: true, keep: '271' })).toEqual(['numberOfRecentAmisToKeep']);
    expect(wrong({ pauseAfter: '101' })).toEqual(['pauseAfterFailures']);
    expect(wrong({ repeats: false, pauseAfter: '101', every: '' })).toEqual([]);
    expect(wrong({ description: 'x'.repeat(1025) })).toEqual(['description']);
    expect(wrong({ recipients: Array.from({ length: 21 }, (_, n) => `a${n}@b`) })).toEqual(['recipients']);
  });
  it('a start is a time between now and thirty days from now', () => {
    const at = (seconds: number) => wrong({ start: 'later', ...localParts(seconds) });
    expect([at(NOW + 3_600), at(NOW + 30 * 86_400 - 60), at(NOW - 3_600), at(NOW + 31 * 86_400)]).toEqual([
      [], [], ['seedReplicationTime'], ['seedReplicationTime'],
    ]);
    expect(wrong({ start: 'later', date: '', time: '' })).toEqual(['seedReplicationTime']);
  });
});

it('times are those on the wall of the browser, over changes of the clock', () => {
  // Tests run in Berlin: an hour ahead of UTC in winter, two in summer.
  expect(localSeconds('2026-01-15', '12:00')).toBe(Date.UTC(2026, 0, 15, 11) / 1000);
  expect(localSeconds('2026-07-15', '12:00')).toBe(Date.UTC(2026, 6, 15, 10) / 1000);
  expect(localParts(Date.UTC(2026, 9, 25, 11, 5) / 1000)).toEqual({ date: '2026-10-25', time: '12:05' });
  expect([localSeconds('', '12:00'), localSeconds('2026-01-15', '')]).toEqual([undefined, undefined]);
});

it('recipients are mail addresses or web addresses', () => {
  const good = ['ops@example.org', 'a@b', 'https://example.org/hook', 'http://10.0.0.1:8080/x', 'mailto:ops@example.org'];
  const bad = ['', 'ops', 'ops@', '@example.org', 'ftp://example.org', 'a b@example.org', 'https://', 'https://u:p@h', 'ops@a..b'];
  expect(good.filter((text) => !isRecipient(text))).toEqual([]);
  expect(bad.filter(isRecipient)).toEqual([]);
});

describe('licences', () => {
  it('are limited by the platform', () => {
    expect(licencesFor('LINUX')).toEqual(['AUTO', 'BYOL']);
    expect(licencesFor('WINDOWS_SERVER')).toEqual(['AUTO', 'AWS', 'BYOL']);
    expect(licencesFor(undefined)).toEqual(['AUTO', 'AWS', 'BYOL']);
  });
  it('of a job are what was asked for', () => {
    expect([licenceOf(JOB), licenceOf({ licenseChosen: false, licenseType: 'AWS' })]).toEqual(['AUTO', 'AWS']);
  });
});

describe('the form of a job that is changed', () => {
  it('changes nothing by itself', () => {
    expect(updateRequest(JOB, formOf(JOB), 'AUTO')).toEqual({ replicationJobId: 'sms-job-1' });
    const minutes = { ...JOB, intervalMinutes: 90, encrypted: true, kmsKeyId: 'alias/hr', numberOfRecentAmisToKeep: 4, roleName: 'mover' };
    expect(updateRequest(minutes, formOf(minutes), 'AUTO')).toEqual({ replicationJobId: 'sms-job-1' });
  });
  it('sends what differs', () => {
    const form = { ...formOf(JOB), every: '6', description: 'x', recipients: [], pauses: false, cap: '0' };
    expect(updateRequest(JOB, form, 'BYOL')).toEqual({
      replicationJobId: 'sms-job-1', frequency: 6, description: 'x', recipients: [], pauseOnFailure: false, licenseType: 'BYOL', bandwidthCap: '0',
    });
  });
  it('takes away what is emptied', () => {
    const full = { ...JOB, description: 'x', bandwidthCap: '20MB/s', numberOfRecentAmisToKeep: 4, encrypted: true, kmsKeyId: 'alias/hr' };
    const form = { ...formOf(full), description: '', cap: '', keepsNewest: false, encrypted: false, pauseAfter: '' };
    expect(updateRequest(full, form, 'AUTO')).toEqual({
      replicationJobId: 'sms-job-1', description: '', bandwidthCap: 'none', numberOfRecentAmisToKeep: 0, encrypted: false, pauseAfterFailures: 0,
    });
  });
});
