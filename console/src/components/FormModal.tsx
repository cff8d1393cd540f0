// A small form over the page. Refusals land beside the field that they name.

import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import Modal from '@cloudscape-design/components/modal';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { type ReactNode, useState } from 'react';
import { type ApiError, asApiError, fieldErrors } from '../api/errors';
import { common } from '../strings/common';
import { ErrorBox } from './ErrorBox';

type Props<M extends string> = {
  title: string;
  verb: string;
  /** Members of the request that have a field here. */
  members: readonly M[];
  /** What is wrong before anything is sent; nothing if it can be sent. */
  check?: () => Partial<Record<NoInfer<M>, string>>;
  act: () => Promise<void>;
  close: () => void;
  size?: 'medium' | 'large';
  /** `forget` takes back what was refused: what it was about has changed. */
  children: (errors: Partial<Record<M, string>>, forget: () => void) => ReactNode;
};

export function FormModal<M extends string>({ title, verb, members, check, act, close, size = 'medium', children }: Props<M>) {
  const [working, setWorking] = useState(false);
  const [refused, setRefused] = useState<ApiError>();
  const [tried, setTried] = useState(false);
  const { fields, general } = fieldErrors(refused, members);
  const wrong = tried ? (check?.() ?? {}) : {};

  const submit = async () => {
    setTried(true);
    setRefused(undefined);
    if (working || (check && Object.values(check()).some((text) => text !== undefined))) return;
    setWorking(true);
    try {
      await act();
      close();
    } catch (thrown) {
      setRefused(asApiError(thrown));
      setWorking(false);
    }
  };

  return (
    <Modal
      visible
      size={size}
      header={title}
      closeAriaLabel={common.close}
      onDismiss={close}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={close}>{common.cancel}</Button>
            <Button variant="primary" loading={working} onClick={() => void submit()}>{verb}</Button>
          </SpaceBetween>
        </Box>
      }
    >
      <form onSubmit={(event) => { event.preventDefault(); void submit(); }}>
        <SpaceBetween size="m">
          {children({ ...fields, ...wrong }, () => setRefused(undefined))}
          <ErrorBox error={general} />
        </SpaceBetween>
        <button type="submit" hidden aria-hidden tabIndex={-1} />
      </form>
    </Modal>
  );
}
