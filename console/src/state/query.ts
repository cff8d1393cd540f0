// Reading from the service in components.

import { useCallback, useRef, useSyncExternalStore } from 'react';
import { call, listAll } from '../api/client';
import type { ApiError } from '../api/errors';
import type { Action, AnswerOf, RequestOf } from '../api/operations';
import type { Kind } from '../api/session';
import { cache, type Query } from './cache';

export type Result<T> = {
  data: T | undefined;
  error: ApiError | undefined;
  /** Nothing is known yet and no error either. */
  loading: boolean;
  again: () => void;
};

/** What a query knows; `undefined` in its place reads nothing. */
export function useQuery<T>(query: Query<T> | undefined): Result<T> {
  const latest = useRef(query);
  latest.current = query;
  const key = query?.key;
  const subscribe = useCallback(
    (listener: () => void) => (latest.current ? cache.watch(latest.current, listener) : () => {}),
    // The key says all that the query depends on.
    [key],
  );
  const known = useSyncExternalStore(subscribe, () => cache.peek<T>(key ?? ''));
  const again = useCallback(() => key && cache.again(key), [key]);
  return {
    data: known.data,
    error: known.error,
    loading: query !== undefined && known.data === undefined && known.error === undefined,
    again: again as () => void,
  };
}

/** The answer of an operation. */
export function answerOf<A extends Action>(
  action: A,
  request: RequestOf<A>,
  kinds: readonly Kind[],
): Query<AnswerOf<A>> {
  return {
    key: `${action} ${JSON.stringify(request)}`,
    kinds,
    read: (background) => call(action, request, { background }),
  };
}

/** All items of a list, page by page. */
export function listOf<A extends Action, T>(
  action: A,
  request: RequestOf<A>,
  pick: (answer: AnswerOf<A>) => T[],
  kinds: readonly Kind[],
  most = Infinity,
): Query<T[]> {
  const paged = { maxResults: 1000, ...request } as RequestOf<A>;
  return {
    key: `${action}* ${JSON.stringify(request)} ${most}`,
    kinds,
    read: (background) => listAll(action, paged, pick, { background, most }),
  };
}
