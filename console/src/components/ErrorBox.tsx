// A refusal, with a way on.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import { type ApiError, titleOf } from '../api/errors';
import { common } from '../strings/common';

type Props = { error: ApiError | undefined; what?: string; again?: () => void; stale?: boolean };

export function ErrorBox({ error, what, again, stale = false }: Props) {
  if (!error) return null;
  const header = what === undefined ? titleOf(error.code) : stale ? common.stale(what) : common.cannotRead(what);
  return (
    <Alert
      type={stale ? 'warning' : 'error'}
      header={header}
      action={again ? <Button onClick={again}>{common.retry}</Button> : undefined}
    >
      {error.message}
      {error.retryAfter === undefined ? null : ` ${common.retryAfter(error.retryAfter)}`}
    </Alert>
  );
}
