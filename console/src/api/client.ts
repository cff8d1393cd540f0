// The only place that speaks HTTP: operations, the session, bytes of images.

import { setServerTime } from '../state/clock';
import { words } from '../strings/words';
import { ApiError, SESSION_EXPIRED, UNREACHABLE } from './errors';
import { type Action, type AnswerOf, type RequestOf, targetOf } from './operations';
import type { SessionInfo, SignIn } from './session';

export type CallOptions = {
  signal?: AbortSignal;
  /** Nobody asked for it: a page that reads again by itself does not keep the session alive. */
  background?: boolean;
};

/** Told when the service says that there is no session any more. */
let onSessionLost: () => void = () => {};

export function whenSessionIsLost(listener: () => void): void {
  onSessionLost = listener;
}

/** Milliseconds after which an answer is not waited for any more: nothing spins for ever. */
const PATIENCE = 60_000;

async function send(url: string, init: RequestInit, options: CallOptions = {}): Promise<Response> {
  const timeout = AbortSignal.timeout(PATIENCE);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  try {
    return await fetch(url, { credentials: 'same-origin', cache: 'no-store', ...init, signal });
  } catch (thrown) {
    if (options.signal?.aborted) throw thrown;
    throw new ApiError(UNREACHABLE, words.unanswered);
  }
}

async function refusal(response: Response): Promise<ApiError> {
  const retry = Number(response.headers.get('retry-after') ?? NaN);
  const retryAfter = Number.isFinite(retry) ? retry : undefined;
  let code = `HTTP ${response.status}`;
  let message = words.answered(response.status);
  try {
    const body = (await response.json()) as { __type?: string; message?: string };
    code = body.__type?.split('#').pop() ?? code;
    message = body.message ?? message;
  } catch {
    // Not from the service itself, such as the page of a proxy: the status says all there is to know.
  }
  return new ApiError(code, message, response.status, retryAfter);
}

async function post(action: Action, request: object, options: CallOptions): Promise<Response> {
  const headers: Record<string, string> = {
    'content-type': 'application/x-amz-json-1.1',
    'x-amz-target': targetOf(action),
    'x-godwit-console': '1',
  };
  if (options.background) headers['x-godwit-background'] = '1';
  const response = await send('/', { method: 'POST', headers, body: JSON.stringify(request) }, options);
  if (response.ok) return response;
  const error = await refusal(response);
  if (error.status === 401 || error.code === SESSION_EXPIRED) onSessionLost();
  throw error;
}

/** Carries out an operation. */
export async function call<A extends Action>(
  action: A,
  request: RequestOf<A>,
  options: CallOptions = {},
): Promise<AnswerOf<A>> {
  const response = await post(action, request, options);
  const text = await response.text();
  return (text === '' ? {} : JSON.parse(text)) as AnswerOf<A>;
}

/** Bytes of a volume of an image, at most a mebibyte. */
export async function readImage(
  request: { imageId: string; volume: number; offset: number; length: number },
  options: CallOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await post('godwit:ReadImage', request, options);
  return new Uint8Array(await response.arrayBuffer());
}

/** All pages of a list. */
export async function listAll<A extends Action, T>(
  action: A,
  request: RequestOf<A>,
  pick: (answer: AnswerOf<A>) => T[],
  options: CallOptions & { most?: number } = {},
): Promise<T[]> {
  const items: T[] = [];
  let nextToken: string | undefined;
  do {
    const answer = await call(action, { ...request, nextToken } as RequestOf<A>, options);
    for (const item of pick(answer)) items.push(item);
    nextToken = (answer as { nextToken?: string }).nextToken;
  } while (nextToken && items.length < (options.most ?? Infinity));
  return items;
}

async function session(method: string, url: string, body?: object, background = false): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body) headers['content-type'] = 'application/json';
  if (background) headers['x-godwit-background'] = '1';
  const response = await send(url, { method, headers, body: body ? JSON.stringify(body) : null });
  if (!response.ok) throw await refusal(response);
  return response;
}

async function sessionInfo(response: Response): Promise<SessionInfo> {
  const info = (await response.json()) as SessionInfo;
  setServerTime(info.serverTime);
  return info;
}

/** The session, or undefined if there is none. */
export async function readSession(background = false): Promise<SessionInfo | undefined> {
  try {
    return await sessionInfo(await session('GET', '/session', undefined, background));
  } catch (thrown) {
    if (thrown instanceof ApiError && thrown.status === 401) return undefined;
    throw thrown;
  }
}

export async function signIn(how: SignIn): Promise<SessionInfo> {
  return sessionInfo(await session('POST', '/session', how));
}

export async function signOut(everywhere: boolean): Promise<void> {
  await session('DELETE', everywhere ? '/session?everywhere' : '/session');
}

export async function setOwnPassword(newPassword: string, currentPassword: string | undefined): Promise<void> {
  await session('PUT', '/session/password', { newPassword, currentPassword });
}
