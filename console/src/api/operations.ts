// Operations by the name that policies give them, as they are generated from the service's own structures.

import { type Operations as Generated, TARGETS } from './generated/operations';
import type { NoAnswer, UserRequest } from './generated/shapes';

/** Operations that the generated files lack so far. */
type Later = {
  'godwit:SetPassword': { request: { userName: string; password: string }; answer: NoAnswer };
  'godwit:DeletePassword': { request: UserRequest; answer: NoAnswer };
  'godwit:CreateSignInLink': { request: UserRequest; answer: { userName: string; token: string; expiresOn: number } };
};

type Operations = Generated & Later;

/** What is asked of the service, as policies name it. */
export type Action = keyof Operations;

export type RequestOf<A extends Action> = Operations[A]['request'];
export type AnswerOf<A extends Action> = Operations[A]['answer'];

/** The value of `X-Amz-Target`. */
export function targetOf(action: Action): string {
  const known: Readonly<Record<string, string>> = TARGETS;
  return known[action] ?? `Godwit_V1.${action.slice('godwit:'.length)}`;
}
