// An "Actions" menu whose items say why they cannot be used.

import ButtonDropdown from '@cloudscape-design/components/button-dropdown';
import type { Action } from '../api/operations';
import { useAllows } from '../state/session';
import { common } from '../strings/common';

export type MenuItem = { id: string; text: string; action: Action; reason?: string | undefined; act: () => void };

export function Menu({ children, items }: { children: string; items: readonly MenuItem[] }) {
  const allows = useAllows();
  return (
    <ButtonDropdown
      expandToViewport
      items={items.map(({ id, text, action, reason }) => {
        const why = allows(action) ? reason : common.notAllowed(action);
        return { id, text, disabled: why !== undefined, ...(why ? { disabledReason: why } : {}) };
      })}
      onItemClick={({ detail }) => items.find((item) => item.id === detail.id)?.act()}
    >
      {children}
    </ButtonDropdown>
  );
}
