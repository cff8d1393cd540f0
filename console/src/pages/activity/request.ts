// From the filter of the audit trail to the request. Pure.

import type { DescribeAuditRecordsRequest } from '../../api/generated/shapes';

export type Since = 'hour' | 'day' | 'week' | 'month' | 'all';
export type AuditFilter = { since: Since; who: string; what: string; outcome: 'any' | 'OK' | 'FAILED' };

export const ALL: AuditFilter = { since: 'day', who: '', what: '', outcome: 'any' };

const SECONDS: Record<Since, number> = { hour: 3_600, day: 86_400, week: 7 * 86_400, month: 30 * 86_400, all: Infinity };

/** `hour`: the present hour, so that the request is the same for a while and is read once. */
export function auditRequest(filter: AuditFilter, now: number): DescribeAuditRecordsRequest {
  const request: DescribeAuditRecordsRequest = {};
  if (filter.since !== 'all') request.since = Math.floor((now - SECONDS[filter.since]) / 60) * 60;
  if (filter.who.trim() !== '') request.who = filter.who.trim();
  if (filter.what.trim() !== '') request.what = filter.what.trim();
  if (filter.outcome !== 'any') request.outcome = filter.outcome;
  return request;
}
