// What the service says about whoever is signed in, and what it tells changes of.

import type { SessionDescription } from './generated/shapes';

export type SessionInfo = SessionDescription;

export type SignIn =
  | { userName: string; password: string }
  | { accessKeyId: string; secretAccessKey: string }
  | { link: string };

/** Kinds of things that `/events` tells changes of. */
export const KINDS = [
  'jobs', 'runs', 'progress', 'servers', 'catalog', 'connectors', 'images', 'snapshots', 'store', 'storeUse',
  'notifications', 'audit', 'users', 'policies', 'roles', 'keys', 'limits',
] as const;

export type Kind = (typeof KINDS)[number];
