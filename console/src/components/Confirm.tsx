// A question before something that cannot be taken back, for one thing or for many.

import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import Modal from '@cloudscape-design/components/modal';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { type ReactNode, useState } from 'react';
import { type ApiError, asApiError } from '../api/errors';
import { common } from '../strings/common';
import { ErrorBox } from './ErrorBox';

type Props = {
  title: string;
  /** What will happen. */
  children: ReactNode;
  verb: string;
  danger?: boolean;
  /** What has to be typed first. */
  word?: string;
  act: () => Promise<void>;
  close: () => void;
};

export function Confirm({ title, children, verb, danger = false, word, act, close }: Props) {
  const [typed, setTyped] = useState('');
  const [working, setWorking] = useState(false);
  const [error, setError] = useState<ApiError>();
  const isConfirmed = word === undefined || typed.trim() === word;

  const submit = async () => {
    if (!isConfirmed || working) return;
    setWorking(true);
    setError(undefined);
    try {
      await act();
      close();
    } catch (thrown) {
      setError(asApiError(thrown));
      setWorking(false);
    }
  };

  return (
    <Modal
      visible
      header={title}
      closeAriaLabel={common.close}
      onDismiss={close}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={close}>{common.cancel}</Button>
            <Button variant="primary" loading={working} disabled={!isConfirmed} onClick={() => void submit()}>
              {verb}
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="m">
        {danger ? <Alert type="warning">{children}</Alert> : <div>{children}</div>}
        {word === undefined ? null : (
          <form onSubmit={(event) => { event.preventDefault(); void submit(); }}>
            <FormField label={common.confirmType(word)}>
              <Input value={typed} onChange={({ detail }) => setTyped(detail.value)} placeholder={word} autoFocus />
            </FormField>
          </form>
        )}
        <ErrorBox error={error} />
      </SpaceBetween>
    </Modal>
  );
}

/**
 * Does the same with many things, some at a time. What failed is told together; if all failed, the first error is
 * thrown.
 */
export async function forEach<T>(items: readonly T[], act: (item: T) => Promise<unknown>): Promise<ApiError[]> {
  const errors: ApiError[] = [];
  const left = [...items];
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) {
      try {
        await act(item);
      } catch (thrown) {
        errors.push(asApiError(thrown));
      }
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  const [first] = errors;
  if (first && errors.length === items.length) throw first;
  return errors;
}
