// Messages at the top of the page: what was done, what failed.

import { type ReactNode, useSyncExternalStore } from 'react';
import { type ApiError, titleOf } from '../api/errors';

export type Message = {
  id: string;
  type: 'success' | 'error' | 'info' | 'warning' | 'in-progress';
  header?: ReactNode;
  content?: ReactNode;
};

let messages: readonly Message[] = [];
let count = 0;
const listeners = new Set<() => void>();

function set(next: readonly Message[]): void {
  messages = next;
  listeners.forEach((listener) => listener());
}

/** Milliseconds that good news stays by itself. */
const GOOD_NEWS = 8_000;

export function tell(message: Omit<Message, 'id'> & { id?: string }): string {
  const id = message.id ?? `message-${++count}`;
  set([{ ...message, id }, ...messages.filter((other) => other.id !== id)].slice(0, 6));
  if (message.type === 'success') setTimeout(() => dismiss(id), GOOD_NEWS);
  return id;
}

export const tellSuccess = (content: ReactNode) => tell({ type: 'success', content });

export function tellError(what: string, error: ApiError): string {
  return tell({ type: 'error', header: what, content: `${titleOf(error.code)}: ${error.message}` });
}

export function dismiss(id: string): void {
  set(messages.filter((message) => message.id !== id));
}

export function useMessages(): readonly Message[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => messages,
  );
}
