// A button that says why it cannot be used.

import Button, { type ButtonProps } from '@cloudscape-design/components/button';
import type { Action } from '../api/operations';
import { useAllows } from '../state/session';
import { common } from '../strings/common';

type Props = {
  action: Action;
  onClick: () => void;
  children: string;
  /** Why the present state does not allow it. */
  reason?: string | undefined;
  variant?: ButtonProps['variant'];
  iconName?: ButtonProps['iconName'];
  loading?: boolean;
  /** Within a form: it does not send it. */
  formAction?: ButtonProps['formAction'];
};

export function ActionButton({ action, onClick, children, reason, variant, iconName, loading, formAction }: Props) {
  const allows = useAllows();
  const why = allows(action) ? reason : common.notAllowed(action);
  return (
    <Button
      onClick={onClick}
      disabled={why !== undefined}
      {...(why === undefined ? {} : { disabledReason: why })}
      {...(variant ? { variant } : {})}
      {...(iconName ? { iconName } : {})}
      {...(loading === undefined ? {} : { loading })}
      {...(formAction ? { formAction } : {})}
    >
      {children}
    </Button>
  );
}
