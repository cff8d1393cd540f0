// Settings of a job as a form has them: what is wrong with them, and what is sent. Pure.

import type { CreateJobRequest, JobDescription, LicenseWish, ServerDescription, UpdateJobRequest } from '../../api/generated/shapes';
import { wizard as t } from '../../strings/wizard';

export type JobForm = {
  repeats: boolean;
  every: string;
  unit: 'hours' | 'minutes';
  /** Creating: now or later. Editing: `keep` leaves the schedule alone. */
  start: 'now' | 'later' | 'keep';
  /** `2026-11-27`, `09:30`: by the clock on the browser's wall. */
  date: string;
  time: string;
  ownRole: boolean;
  roleName: string;
  description: string;
  keepsNewest: boolean;
  keep: string;
  encrypted: boolean;
  /** Empty: the default key. */
  kmsKeyId: string;
  recipients: readonly string[];
  pauses: boolean;
  pauseAfter: string;
  cap: string;
};

export type Member =
  | 'frequency' | 'intervalMinutes' | 'seedReplicationTime' | 'nextReplicationRunStartTime' | 'roleName' | 'description'
  | 'numberOfRecentAmisToKeep' | 'kmsKeyId' | 'encrypted' | 'recipients' | 'pauseAfterFailures' | 'pauseOnFailure' | 'bandwidthCap'
  | 'licenseType';

/** Members in the order of the page. */
export const MEMBERS: readonly Member[] = [
  'licenseType', 'frequency', 'intervalMinutes', 'seedReplicationTime', 'nextReplicationRunStartTime', 'roleName', 'description',
  'numberOfRecentAmisToKeep', 'kmsKeyId', 'encrypted', 'pauseAfterFailures', 'pauseOnFailure', 'recipients', 'bandwidthCap',
];

export type Problems = Partial<Record<Member, string>>;

/** Seconds that a start may lie ahead. */
export const LONGEST_LEAD = 30 * 86_400;
const MOST_RECIPIENTS = 20;
const AUTOMATIC_ROLE = 'sms';

export const NEW_JOB: JobForm = {
  repeats: true, every: '12', unit: 'hours', start: 'now', date: '', time: '', ownRole: false, roleName: '', description: '',
  keepsNewest: false, keep: '5', encrypted: false, kmsKeyId: '', recipients: [], pauses: true, pauseAfter: '', cap: '',
};

/** A date and a time on the browser's wall as epoch seconds. */
export function localSeconds(date: string, time: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(date) || !/^\d\d:\d\d(:\d\d)?$/.test(time)) return undefined;
  const milliseconds = new Date(`${date}T${time.length === 5 ? `${time}:00` : time}`).getTime();
  return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000;
}

/** Epoch seconds as a date and a time on the browser's wall. */
export function localParts(seconds: number): { date: string; time: string } {
  const at = new Date(seconds * 1000);
  const two = (n: number) => String(n).padStart(2, '0');
  return {
    date: `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
    time: `${two(at.getHours())}:${two(at.getMinutes())}`,
  };
}

function whole(text: string, least: number, most: number): number | undefined {
  const trimmed = text.trim();
  if (!/^\d{1,7}$/.test(trimmed)) return undefined;
  const n = Number(trimmed);
  return n >= least && n <= most ? n : undefined;
}

/** Whether a text can be a recipient. The service looks closer. */
export function isRecipient(text: string): boolean {
  if (text.length > 512 || /\s/.test(text)) return false;
  if (/^https?:/.test(text)) return /^https?:\/\/[^/?#@:]+(:\d+)?([/?#]|$)/.test(text);
  return /^(mailto:)?[^@\s]+@[^@\s.]+(\.[^@\s.]+)*$/.test(text);
}

/** What is wrong, by the member that it would be sent as. */
export function problems(form: JobForm, now: number): Problems {
  const found: Problems = {};
  const most = form.unit === 'hours' ? 24 : 43_200;
  if (form.repeats && whole(form.every, 1, most) === undefined) {
    found[form.unit === 'hours' ? 'frequency' : 'intervalMinutes'] = t.errors.interval(1, most);
  }
  if (form.start === 'later') {
    const at = localSeconds(form.date, form.time);
    if (at === undefined) found.seedReplicationTime = t.errors.date;
    else if (at < now - 60) found.seedReplicationTime = t.errors.past;
    else if (at > now + LONGEST_LEAD) found.seedReplicationTime = t.errors.far;
  }
  if (form.ownRole && form.roleName === '') found.roleName = t.errors.role;
  if ([...form.description].length > 1024) found.description = t.errors.description;
  if (form.keepsNewest && whole(form.keep, 1, 270) === undefined) found.numberOfRecentAmisToKeep = t.errors.interval(1, 270);
  if (form.recipients.length > MOST_RECIPIENTS) found.recipients = t.errors.recipientsMany;
  if (form.repeats && form.pauses && form.pauseAfter.trim() !== '' && whole(form.pauseAfter, 1, 100) === undefined) {
    found.pauseAfterFailures = t.errors.interval(1, 100);
  }
  return found;
}

function intervalOf(form: JobForm): { frequency?: number; intervalMinutes?: number } {
  const n = Number(form.every.trim());
  return form.unit === 'hours' ? { frequency: n } : { intervalMinutes: n };
}

/** The request for a server. What was left as it is by default is not sent: the service's defaults count. */
export function createRequest(form: JobForm, serverId: string, licence: LicenseWish): CreateJobRequest {
  const request: CreateJobRequest = { serverId };
  if (form.repeats) Object.assign(request, intervalOf(form));
  else request.runOnce = true;
  if (form.start === 'later') request.seedReplicationTime = localSeconds(form.date, form.time);
  if (licence !== 'AUTO') request.licenseType = licence;
  if (form.ownRole) request.roleName = form.roleName;
  if (form.description.trim() !== '') request.description = form.description.trim();
  if (form.keepsNewest) request.numberOfRecentAmisToKeep = Number(form.keep.trim());
  if (form.encrypted) {
    request.encrypted = true;
    if (form.kmsKeyId !== '') request.kmsKeyId = form.kmsKeyId;
  }
  if (form.recipients.length > 0) request.recipients = [...form.recipients];
  if (form.repeats) {
    if (!form.pauses) request.pauseOnFailure = false;
    else if (form.pauseAfter.trim() !== '') request.pauseAfterFailures = Number(form.pauseAfter.trim());
  }
  if (form.cap.trim() !== '') request.bandwidthCap = form.cap.trim();
  return request;
}

/** A job's settings as a form. */
export function formOf(job: JobDescription): JobForm {
  const minutes = job.intervalMinutes;
  const inHours = minutes === undefined || (minutes % 60 === 0 && minutes <= 1440);
  return {
    repeats: minutes !== undefined,
    every: minutes === undefined ? '' : String(inHours ? minutes / 60 : minutes),
    unit: inHours ? 'hours' : 'minutes',
    start: 'keep',
    ...localParts(job.nextReplicationRunStartTime ?? job.seedReplicationTime),
    ownRole: job.roleName !== AUTOMATIC_ROLE,
    roleName: job.roleName === AUTOMATIC_ROLE ? '' : job.roleName,
    description: job.description ?? '',
    keepsNewest: (job.numberOfRecentAmisToKeep ?? 0) > 0,
    keep: String(job.numberOfRecentAmisToKeep || 5),
    encrypted: job.encrypted === true,
    kmsKeyId: job.kmsKeyId ?? '',
    recipients: job.recipients,
    pauses: job.pauseOnFailure,
    pauseAfter: String(job.pauseAfterFailures),
    cap: job.bandwidthCap ?? '',
  };
}

/** What has changed of a job, and nothing else: somebody else may be changing the rest. */
export function updateRequest(job: JobDescription, form: JobForm, licence: LicenseWish): UpdateJobRequest {
  const was = formOf(job);
  const request: UpdateJobRequest = { replicationJobId: job.replicationJobId };
  const differs = (...fields: (keyof JobForm)[]) => fields.some((field) => String(form[field]) !== String(was[field]));
  if (form.repeats && differs('every', 'unit')) Object.assign(request, intervalOf(form));
  if (form.start === 'later') request.nextReplicationRunStartTime = localSeconds(form.date, form.time);
  if (licence !== licenceOf(job)) request.licenseType = licence;
  if (differs('ownRole', 'roleName')) request.roleName = form.ownRole ? form.roleName : AUTOMATIC_ROLE;
  if (differs('description')) request.description = form.description.trim();
  if (differs('keepsNewest', 'keep')) request.numberOfRecentAmisToKeep = form.keepsNewest ? Number(form.keep.trim()) : 0;
  if (differs('encrypted', 'kmsKeyId')) {
    request.encrypted = form.encrypted;
    if (form.encrypted) request.kmsKeyId = form.kmsKeyId;
  }
  if (differs('recipients')) request.recipients = [...form.recipients];
  if (form.repeats && differs('pauses')) request.pauseOnFailure = form.pauses;
  if (form.repeats && form.pauses && differs('pauseAfter')) {
    request.pauseAfterFailures = form.pauseAfter.trim() === '' ? 0 : Number(form.pauseAfter.trim());
  }
  if (differs('cap')) request.bandwidthCap = form.cap.trim() === '' ? 'none' : form.cap.trim();
  return request;
}

/** What was asked for as a job's licence. */
export const licenceOf = (job: Pick<JobDescription, 'licenseType' | 'licenseChosen'>): LicenseWish =>
  job.licenseChosen ? 'AUTO' : (job.licenseType ?? 'AUTO');

/** Licences that a platform allows. */
export function licencesFor(platform: ServerDescription['platform']): LicenseWish[] {
  return platform === 'LINUX' ? ['AUTO', 'BYOL'] : ['AUTO', 'AWS', 'BYOL'];
}

/** The page of the wizard on which a member is. */
export const stepOf = (member: Member): 0 | 1 => (member === 'licenseType' ? 0 : 1);
