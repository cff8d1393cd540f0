// Addresses without hashes, by the history of the browser. Everything lives below `/console/`.

import { type MouseEvent, useCallback, useSyncExternalStore } from 'react';

export const BASE = '/console';

const listeners = new Set<() => void>();
const tellAll = () => listeners.forEach((listener) => listener());
if (typeof window !== 'undefined') window.addEventListener('popstate', tellAll);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Address within the console, such as `/jobs?filter=…`, as one for the browser. */
export const href = (path: string) => BASE + path;

export function navigate(path: string, how: 'push' | 'replace' = 'push'): void {
  if (href(path) === window.location.pathname + window.location.search) return;
  if (how === 'push') window.history.pushState(null, '', href(path));
  else window.history.replaceState(null, '', href(path));
  tellAll();
  if (how === 'push') window.scrollTo(0, 0);
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname.slice(BASE.length) || '/');
}

/** One parameter of the address, and how it is changed: in place, so that going back leaves the page. */
export function useParameter(name: string): [string, (value: string) => void] {
  const value = useSyncExternalStore(subscribe, () => new URLSearchParams(window.location.search).get(name) ?? '');
  const set = useCallback((next: string) => navigate(withParameter(name, next), 'replace'), [name]);
  return [value, set];
}

/** The present address with one parameter changed; an empty one is left out. */
export function withParameter(name: string, value: string): string {
  const parameters = new URLSearchParams(window.location.search);
  if (value === '') parameters.delete(name);
  else parameters.set(name, value);
  const query = parameters.toString();
  return (window.location.pathname.slice(BASE.length) || '/') + (query === '' ? '' : `?${query}`);
}

/** For `onFollow` of Cloudscape's links: stays within the page. */
export function follow(event: CustomEvent<{ href?: string; external?: boolean }>): void {
  const target = event.detail.href;
  if (!target || event.detail.external || !target.startsWith(`${BASE}/`)) return;
  event.preventDefault();
  navigate(target.slice(BASE.length));
}

/** For `onClick` of plain links, unless a new tab is asked for. */
export function followClick(event: MouseEvent<HTMLAnchorElement>): void {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  navigate(event.currentTarget.pathname.slice(BASE.length) + event.currentTarget.search);
}
