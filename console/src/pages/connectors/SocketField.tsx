// Where a VM manager answers, with a test that changes nothing.

import Alert from '@cloudscape-design/components/alert';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import LiveRegion from '@cloudscape-design/components/live-region';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useState } from 'react';
import { call } from '../../api/client';
import { type ApiError, asApiError, fieldErrors } from '../../api/errors';
import type { ConnectorDescription, TestConnectorResponse } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { ErrorBox } from '../../components/ErrorBox';
import { connectors as t } from '../../strings/connectors';
import { socketProblem, verdict } from './request';

type Props = {
  socket: string;
  change: (socket: string) => void;
  /** What was refused of it when the form was sent; `forget` takes that back. */
  error: string | undefined;
  forget: () => void;
  /** The connector that is edited, if one is. */
  edited?: ConnectorDescription;
};

/** A test of a socket, and what came of it. It says nothing of any other socket. */
type Test = { socket: string; working?: boolean; problem?: string | undefined; found?: TestConnectorResponse; error?: ApiError };

export function SocketField({ socket, change, error, forget, edited }: Props) {
  const [last, setLast] = useState<Test>();
  const path = socket.trim();
  const test = last?.socket === path ? last : undefined;
  const { fields, general } = fieldErrors(test?.error, ['socket'] as const);

  const begin = async () => {
    forget();
    const problem = socketProblem(path);
    setLast({ socket: path, working: problem === undefined, problem });
    if (problem !== undefined) return;
    const settle = (outcome: Omit<Test, 'socket'>) => setLast((now) => (now?.socket === path && now.working ? { socket: path, ...outcome } : now));
    try {
      settle({ found: await call('godwit:TestConnector', { type: 'QMP', socket: path }) });
    } catch (thrown) {
      settle({ error: asApiError(thrown) });
    }
  };

  return (
    <SpaceBetween size="s">
      <FormField
        label={t.form.socket}
        description={t.form.socketHint}
        constraintText={edited ? `${t.form.access} ${t.socketMoves}` : t.form.access}
        errorText={error ?? test?.problem ?? fields.socket}
        secondaryControl={<ActionButton action="godwit:TestConnector" formAction="none" loading={test?.working ?? false} onClick={() => void begin()}>{t.test.verb}</ActionButton>}
      >
        <Input value={socket} onChange={({ detail }) => { forget(); change(detail.value); }} spellcheck={false} />
      </FormField>
      {general ? <ErrorBox error={general} /> : null}
      {test?.found ? <LiveRegion><Found found={test.found} edited={edited} /></LiveRegion> : null}
    </SpaceBetween>
  );
}

function Found({ found, edited }: { found: TestConnectorResponse; edited: ConnectorDescription | undefined }) {
  const { type, header, lines } = verdict(found, edited);
  return <Alert type={type} header={header}>{lines.map((line, n) => <div key={n}>{line}</div>)}</Alert>;
}
