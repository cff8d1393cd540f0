// How the import of the catalog goes, and behind it which connectors gave no servers.

import Alert from '@cloudscape-design/components/alert';
import ProgressBar from '@cloudscape-design/components/progress-bar';
import { type ReactNode, useState } from 'react';
import { servers as t } from '../../strings/servers';
import { importProgress, importWarning } from './import';
import type { Catalog } from './query';

/** Nothing, not even an empty element, if there is nothing to say. */
export function useImportNotice(catalog: Catalog | undefined): ReactNode {
  /** The import whose warning was hidden, by its begin. */
  const [hidden, setHidden] = useState<number>();
  if (!catalog) return null;
  const { status, lastImport } = catalog;
  if (status === 'IMPORTING') {
    const { percent, text } = importProgress(lastImport);
    return <ProgressBar value={percent} label={t.importing} additionalInfo={text} />;
  }
  const warning = importWarning(status, lastImport);
  if (!warning || lastImport?.beganOn === hidden) return null;
  return (
    <Alert type="warning" header={warning.header} dismissible dismissAriaLabel={t.hide} onDismiss={() => setHidden(lastImport?.beganOn)}>
      {warning.failures.map((failure) => (
        <div key={failure.connectorId}><strong>{failure.connectorName}</strong>: {failure.reason}</div>
      ))}
      {warning.more > 0 ? <div>{t.moreFailed(warning.more)}</div> : null}
    </Alert>
  );
}
