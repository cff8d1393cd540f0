// Refusals of the service, and which field of a form they are about.

/** A refusal, or a service that cannot be reached. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  /** Seconds after which it may be tried again, if the service said so. */
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, status = 0, retryAfter?: number) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Code of our own: nobody answered. */
export const UNREACHABLE = 'Unreachable';

export const SESSION_EXPIRED = 'SessionExpiredException';

/** Whatever was thrown, as a refusal. */
export function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError('ConsoleError', thrown instanceof Error ? thrown.message : String(thrown));
}

/** The code in words of people: `InvalidParameterException` is "Invalid parameter". */
export function titleOf(code: string): string {
  const words = code.replace(/Exception$/, '').replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The member of a request that a refusal is about: the first one that its message names as a word of its own. */
export function memberOf<M extends string>(error: ApiError, members: readonly M[]): M | undefined {
  let first: { member: M; at: number } | undefined;
  for (const member of members) {
    const at = error.message.search(new RegExp(`(^|[^A-Za-z0-9])${member}([^A-Za-z0-9]|$)`));
    if (at >= 0 && (!first || at < first.at)) first = { member, at };
  }
  return first?.member;
}

/** Refusals that name no member but can only be about one. */
const ABOUT: Record<string, string> = {
  ServerCannotBeReplicatedException: 'licenseType',
};

/** Beside its field a message need not begin with the name of the member. */
function besideField(message: string, member: string): string {
  if (!message.startsWith(`${member}: `)) return message;
  const rest = message.slice(member.length + 2);
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

/**
 * The texts of a form's fields after a refusal, by member. What cannot be put beside a field stays in `general`.
 */
export function fieldErrors<M extends string>(
  error: ApiError | undefined,
  members: readonly M[],
): { fields: Partial<Record<M, string>>; general: ApiError | undefined } {
  if (!error) return { fields: {}, general: undefined };
  const implied = members.find((m) => m === ABOUT[error.code]);
  const member = memberOf(error, members) ?? implied;
  if (!member) return { fields: {}, general: error };
  return { fields: { [member]: besideField(error.message, member) } as Partial<Record<M, string>>, general: undefined };
}
