// Associate, edit, disassociate.

import Alert from '@cloudscape-design/components/alert';
import Checkbox from '@cloudscape-design/components/checkbox';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import Tiles from '@cloudscape-design/components/tiles';
import { useState } from 'react';
import { call } from '../../api/client';
import { asApiError } from '../../api/errors';
import type { ConnectorDescription } from '../../api/generated/shapes';
import { Confirm, forEach } from '../../components/Confirm';
import { FormModal } from '../../components/FormModal';
import { navigate } from '../../routes/router';
import { cache } from '../../state/cache';
import { tellError, tellSuccess } from '../../state/messages';
import { useAllows } from '../../state/session';
import { common } from '../../strings/common';
import { connectors as t } from '../../strings/connectors';
import { servers } from '../../strings/servers';
import { associateRequest, connectorProblems, EDIT_MEMBERS, editForm, editRequest, MEMBERS } from './request';
import { SocketField } from './SocketField';

export function AssociateConnector({ close }: { close: () => void }) {
  const [form, setForm] = useState({ name: '', socket: '' });
  const allows = useAllows();
  const mayImport = allows('sms:ImportServerCatalog');
  const [andImport, setAndImport] = useState(mayImport);
  const f = t.form;
  return (
    <FormModal
      title={f.title}
      verb={f.verb}
      members={MEMBERS}
      check={() => connectorProblems(form)}
      act={async () => {
        const request = associateRequest(form);
        await call('godwit:AssociateConnector', request);
        cache.invalidate(['connectors']);
        tellSuccess(f.done(request.name));
        if (!andImport) return;
        try {
          await call('sms:ImportServerCatalog', {});
          cache.invalidate(['catalog']);
        } catch (thrown) {
          tellError(servers.importFailed, asApiError(thrown));
        }
        navigate('/servers');
      }}
      close={close}
    >
      {(errors, forget) => (
        <>
          <FormField label={f.kind}>
            <Tiles value="QMP" onChange={() => {}} columns={1} items={[{ value: 'QMP', label: f.qmp, description: f.qmpHint }]} />
          </FormField>
          <FormField label={f.name} description={f.nameHint} errorText={errors.name}>
            <Input value={form.name} onChange={({ detail }) => setForm({ ...form, name: detail.value })} autoFocus />
          </FormField>
          <SocketField socket={form.socket} change={(socket) => setForm({ ...form, socket })} error={errors.socket} forget={forget} />
          <Alert type="info">{f.before}</Alert>
          <Checkbox checked={andImport} disabled={!mayImport} onChange={({ detail }) => setAndImport(detail.checked)}>{f.andImport}</Checkbox>
        </>
      )}
    </FormModal>
  );
}

export function EditConnector({ connector, close }: { connector: ConnectorDescription; close: () => void }) {
  // The list may change meanwhile: what is sent is what was changed of what was shown.
  const [was] = useState(connector);
  const [form, setForm] = useState(() => editForm(was));
  return (
    <FormModal
      title={t.editTitle(was.name)}
      verb={common.save}
      members={EDIT_MEMBERS}
      check={() => connectorProblems(form)}
      act={async () => {
        const request = editRequest(was, form);
        if (!request) return;
        await call('godwit:UpdateConnector', request);
        cache.invalidate(['connectors', 'servers']);
        tellSuccess(t.changed);
      }}
      close={close}
    >
      {(errors, forget) => (
        <>
          <FormField label={t.form.name} description={t.form.nameHint} errorText={errors.name}>
            <Input value={form.name} onChange={({ detail }) => setForm({ ...form, name: detail.value })} autoFocus />
          </FormField>
          <SocketField socket={form.socket} change={(socket) => setForm({ ...form, socket })} error={errors.socket} forget={forget} edited={was} />
          <FormField label={t.cap} constraintText={t.capHint} errorText={errors.bandwidthCap}>
            <Input value={form.cap} onChange={({ detail }) => setForm({ ...form, cap: detail.value })} />
          </FormField>
        </>
      )}
    </FormModal>
  );
}

export function DisassociateConnectors({ connectors, close }: { connectors: readonly ConnectorDescription[]; close: () => void }) {
  // The selection follows the list: keep what the question is about.
  const [asked] = useState(connectors);
  const [first] = asked;
  return (
    <Confirm
      title={t.disTitle(asked.length)}
      verb={t.disassociate}
      danger
      {...(first && asked.length === 1 ? { word: first.name } : { word: 'disassociate' })}
      close={close}
      act={async () => {
        const errors = await forEach(asked, (connector) => call('sms:DisassociateConnector', { connectorId: connector.connectorId }));
        cache.invalidate(['connectors', 'servers']);
        const [error] = errors;
        if (error) tellError(t.disFailed, error);
        else tellSuccess(t.disDone);
      }}
    >
      <strong>{asked.map((connector) => connector.name).join(', ')}</strong>
      <div>{t.disHint}</div>
    </Confirm>
  );
}
