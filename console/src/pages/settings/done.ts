// What the settings have in common behind a change.

import { asApiError } from '../../api/errors';
import type { Kind } from '../../api/session';
import { cache } from '../../state/cache';
import { tellError, tellSuccess } from '../../state/messages';
import { settings } from '../../strings/settings';

/** Something was changed: it shows at once, and is told. */
export function done(kind: Kind, text: string): void {
  cache.invalidate([kind]);
  tellSuccess(text);
}

/** Does something that no dialog waits for: a refusal is told above the page. */
export async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    tellError(settings.failed, asApiError(thrown));
  }
}
