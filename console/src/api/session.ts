// What the service says about whoever is signed in.

export type SessionInfo = {
  userName: string;
  policyNames: string[];
  /** What the user may do, in the names of policies. */
  actions: string[];
  signedInWith: 'password' | 'accessKey' | 'link';
  hasPassword: boolean;
  serverTime: number;
  createdAt: number;
  /** When it ends if nothing is asked for meanwhile. */
  expiresAt: number;
  /** When it ends in any case. */
  endsAt: number;
  version: string;
};

export type SignIn =
  | { userName: string; password: string }
  | { accessKeyId: string; secretAccessKey: string }
  | { link: string };

/** Kinds of things that `/events` tells changes of. */
export const KINDS = [
  'jobs', 'runs', 'progress', 'servers', 'catalog', 'connectors', 'images', 'snapshots', 'store', 'notifications',
  'audit', 'users', 'policies', 'roles', 'keys', 'limits',
] as const;

export type Kind = (typeof KINDS)[number];
