// Operations by the name that policies give them, as they are generated from the service's own structures.

import { type Operations, TARGETS } from './generated/operations';

/** What is asked of the service, as policies name it. */
export type Action = keyof Operations;

export type RequestOf<A extends Action> = Operations[A]['request'];
export type AnswerOf<A extends Action> = Operations[A]['answer'];

/** The value of `X-Amz-Target`. */
export const targetOf = (action: Action): string => TARGETS[action];
