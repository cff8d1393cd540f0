// An id that can be copied.

import CopyToClipboard from '@cloudscape-design/components/copy-to-clipboard';
import { common } from '../strings/common';

export function Id({ id, what, shown }: { id: string; what: string; shown?: string }) {
  return (
    <CopyToClipboard
      variant="inline"
      textToDisplay={shown ?? id}
      textToCopy={id}
      copyButtonAriaLabel={common.copy(what)}
      copySuccessText={common.copied}
      copyErrorText={common.copyFailed}
    />
  );
}
