// From what was typed to what is sent. Pure.

import type { SignIn } from '../../api/session';

export type Credentials = { by: 'password' | 'accessKey'; name: string; secret: string };

/** Nothing, if something is missing. A password is sent as it was typed, also with blanks at its ends. */
export function signInRequest({ by, name, secret }: Credentials): SignIn | undefined {
  const who = name.trim();
  if (who === '' || secret.trim() === '') return undefined;
  return by === 'password' ? { userName: who, password: secret } : { accessKeyId: who, secretAccessKey: secret.trim() };
}

/** The token of a sign-in link: what follows `#link=` in the address. */
export function linkToken(hash: string): string | undefined {
  const token = /^#link=([A-Za-z0-9._~-]+)$/.exec(hash)?.[1];
  return token;
}

export const SHORTEST_PASSWORD = 12;

export type PasswordFields = { newPassword: string; repeat: string };

/** What is wrong with a new password, by field. */
export function passwordProblems(
  { newPassword, repeat }: PasswordFields,
  texts: { tooShort: string; differs: string },
): Partial<Record<keyof PasswordFields, string>> {
  if ([...newPassword].length < SHORTEST_PASSWORD) return { newPassword: texts.tooShort };
  return repeat === newPassword ? {} : { repeat: texts.differs };
}
