// What this browser remembers: light or dark, columns of tables. Nothing of it is a secret.

import { applyMode, Mode } from '@cloudscape-design/global-styles';
import { useCallback, useState, useSyncExternalStore } from 'react';

const PREFIX = 'godwit.';

function read<T>(name: string, otherwise: T): T {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}

function write(name: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // A browser that remembers nothing is usable all the same.
  }
}

/** A value that is remembered under a name. */
export function useRemembered<T>(name: string, otherwise: T): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => read(name, otherwise));
  const set = useCallback(
    (next: T) => {
      setValue(next);
      write(name, next);
    },
    [name],
  );
  return [value, set];
}

export type Look = 'light' | 'dark' | 'system';

const listeners = new Set<() => void>();
let look: Look = read<Look>('look', 'system');
const dark = typeof matchMedia === 'undefined' ? undefined : matchMedia('(prefers-color-scheme: dark)');

export function applyLook(): void {
  const isDark = look === 'dark' || (look === 'system' && dark?.matches === true);
  applyMode(isDark ? Mode.Dark : Mode.Light);
  document.documentElement.style.colorScheme = isDark ? 'dark' : 'light';
}

dark?.addEventListener('change', applyLook);

export function setLook(next: Look): void {
  look = next;
  write('look', next);
  applyLook();
  listeners.forEach((listener) => listener());
}

export function useLook(): Look {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => look,
  );
}
