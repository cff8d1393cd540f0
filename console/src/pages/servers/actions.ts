// Whether a job can be created for servers. Pure.

import type { ReplicationJobState, ServerDescription } from '../../api/generated/shapes';
import { servers as t } from '../../strings/servers';

/** A server with what is known of its job. */
export type ServerRow = { server: ServerDescription; jobState: ReplicationJobState | undefined };

/** States in which a job holds its server, so that no second one may be created. */
const LIVE: readonly ReplicationJobState[] = ['PENDING', 'ACTIVE', 'PAUSED_ON_FAILURE', 'FAILING', 'DELETING'];

/** Why no job can be created for a server; nothing if one can. */
export function whyNoJob({ server, jobState }: ServerRow): string | undefined {
  if (server.missingSince !== undefined) return t.reasons.missing(server.name);
  // Jobs may not be readable for this user: then what the catalog says has to do.
  const isLive = jobState ? LIVE.includes(jobState) : server.replicationJobId !== undefined && server.replicationJobTerminated === false;
  if (isLive && server.replicationJobId) return t.reasons.replicated(server.name, server.replicationJobId);
  return server.volumes.length === 0 ? t.reasons.noVolumes(server.name) : undefined;
}

/** The same for all that are selected: every one of them must be possible. */
export function whyNoJobs(selected: readonly ServerRow[]): string | undefined {
  if (selected.length === 0) return t.reasons.none;
  for (const row of selected) {
    const why = whyNoJob(row);
    if (why) return why;
  }
  return undefined;
}
