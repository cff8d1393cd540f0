// What somebody should look at now, the most urgent first. Pure.

import type {
  ConnectorDescription, ImageDescription, JobDescription, NotificationDescription, PreviewSweepResponse, ScrubDescription, ServerCatalogStatus,
} from '../../api/generated/shapes';
import { overview } from '../../strings/overview';

const t = overview.items;

export type Attention = {
  id: string;
  urgency: 'error' | 'warning';
  what: string;
  /** Why, and what to do. */
  why: string | undefined;
  to: string;
};

export type Facts = {
  connectors?: readonly ConnectorDescription[] | undefined;
  jobs?: readonly JobDescription[] | undefined;
  images?: readonly ImageDescription[] | undefined;
  catalog?: ServerCatalogStatus | undefined;
  givenUp?: readonly NotificationDescription[] | undefined;
  store?: PreviewSweepResponse | undefined;
  scrub?: ScrubDescription | undefined;
};

export function attention(facts: Facts): Attention[] {
  const found: Attention[] = [];
  const add = (urgency: Attention['urgency'], id: string, what: string, why: string | undefined, to: string) => found.push({ urgency, id, what, why, to });
  for (const job of facts.jobs ?? []) {
    const to = `/jobs?job=${job.replicationJobId}`;
    const failure = job.latestRun?.failure;
    const why = failure ? `${failure.cause}. ${failure.nextStep}` : job.statusMessage;
    if (job.state === 'PAUSED_ON_FAILURE') add('error', job.replicationJobId, t.paused(job.serverName), why, to);
    else if (job.state === 'FAILED' || job.state === 'FAILING') add('error', job.replicationJobId, t.failed(job.serverName), why, to);
    else if (job.state === 'ACTIVE' && job.failures > 0) add('warning', job.replicationJobId, t.failing(job.serverName, job.failures, job.pauseAfterFailures), why, to);
    else if (job.state === 'ACTIVE' && job.latestRun?.state === 'FAILED') add('warning', job.replicationJobId, t.lastFailed(job.serverName), why, to);
    else if (job.latestRun?.retryingAfter) add('warning', job.replicationJobId, t.retrying(job.serverName), job.latestRun.retryingAfter, to);
  }
  for (const connector of facts.connectors ?? []) {
    if (connector.status === 'UNHEALTHY') add('error', connector.connectorId, t.connector(connector.name), connector.statusReason, '/connectors');
  }
  for (const image of facts.images ?? []) {
    if (image.verification.state === 'DAMAGED') {
      add('error', image.imageId, t.damaged(image.serverName, image.imageId), image.verification.message, `/images?image=${image.imageId}`);
    }
  }
  if (facts.scrub && facts.scrub.damagedPacks > 0) add('error', 'packs', t.packs(facts.scrub.damagedPacks), facts.scrub.problem, '/settings?tab=store');
  if (facts.store && facts.store.unreadable.length > 0) {
    add('error', 'unreadable', t.unreadable(facts.store.unreadable.length), facts.store.unreadable[0]?.message, '/settings?tab=store');
  }
  if (facts.catalog === 'EXPIRED') add('warning', 'catalog', t.expired, t.expiredHint, '/servers');
  const [undelivered] = facts.givenUp ?? [];
  if (undelivered) {
    add('warning', 'notifications', t.notifications(facts.givenUp?.length ?? 0), undelivered.failure?.nextStep, `/activity?filter=${encodeURIComponent('State = GivenUp')}`);
  }
  return found.sort((a, b) => Number(a.urgency === 'warning') - Number(b.urgency === 'warning'));
}
