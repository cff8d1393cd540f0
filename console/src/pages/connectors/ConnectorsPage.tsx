// What servers are found through.

import Button from '@cloudscape-design/components/button';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { useMemo, useState } from 'react';
import type { ConnectorDescription } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { Id } from '../../components/Id';
import { Menu } from '../../components/Menu';
import { connectorTone, displayCase } from '../../components/names';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { navigate } from '../../routes/router';
import { useQuery } from '../../state/query';
import { connectors as t } from '../../strings/connectors';
import { connectorsQuery } from './query';
import { AssociateConnector, DisassociateConnectors, EditConnector } from './dialogs';

const columns: readonly Column<ConnectorDescription>[] = [
  { id: 'name', header: t.columns.name, value: (c) => c.name, width: 110 },
  {
    id: 'status', header: t.columns.status, value: (c) => displayCase(c.status), width: 115,
    cell: (c) => <Status tone={connectorTone(c)}>{displayCase(c.status)}</Status>,
  },
  { id: 'reason', header: t.columns.reason, value: (c) => c.statusReason, width: 115 },
  { id: 'manager', header: t.columns.manager, value: (c) => c.managerName, width: 155 },
  { id: 'version', header: t.columns.version, value: (c) => c.managerVersion, width: 140 },
  { id: 'address', header: t.columns.address, value: (c) => c.socket, width: 125 },
  { id: 'associated', header: t.columns.associated, value: (c) => c.associatedOn, unfiltered: true, width: 140, cell: (c) => <When time={c.associatedOn} /> },
  { id: 'contact', header: t.columns.contact, value: (c) => c.lastContactOn, unfiltered: true, width: 140, cell: (c) => <When time={c.lastContactOn} /> },
  { id: 'cap', header: t.columns.cap, value: (c) => c.bandwidthCap ?? t.noCap, width: 170 },
  { id: 'type', header: t.columns.type, value: (c) => t.types[c.type] ?? c.type, hidden: true, width: 130 },
  { id: 'id', header: t.columns.id, value: (c) => c.connectorId, hidden: true, width: 200, cell: (c) => <Id id={c.connectorId} what={t.columns.id} /> },
  { id: 'managerId', header: t.columns.managerId, value: (c) => c.managerId, hidden: true, width: 260 },
];

const keyOf = (connector: ConnectorDescription) => connector.connectorId;
const nameOf = (connector: ConnectorDescription) => connector.name;

export function ConnectorsPage() {
  const all = useQuery(connectorsQuery);
  const [selectedIds, setSelectedIds] = useState<string[]>([]);
  const [open, setOpen] = useState<'associate' | 'edit' | 'disassociate'>();
  const selected = useMemo(() => (all.data ?? []).filter((c) => selectedIds.includes(c.connectorId)), [all.data, selectedIds]);
  const [first] = selected;
  const close = () => setOpen(undefined);
  const associate = (
    <ActionButton action="godwit:AssociateConnector" variant="primary" onClick={() => setOpen('associate')}>{t.associate}</ActionButton>
  );
  return (
    <>
      <ResourceTable
        name="connectors"
        title={t.title}
        words={t.words}
        result={all}
        columns={columns}
        keyOf={keyOf}
        nameOf={nameOf}
        selection="multi"
        selected={selectedIds}
        onSelect={setSelectedIds}
        parameter="filter"
        sort={{ column: 'name' }}
        empty={<Empty title={t.empty} hint={t.emptyHint} action={associate} />}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Menu
              items={[
                { id: 'edit', text: t.edit, action: 'godwit:UpdateConnector', reason: selected.length === 0 ? t.selectOne : selected.length > 1 ? t.oneOnly : undefined, act: () => setOpen('edit') },
                { id: 'disassociate', text: t.disassociate, action: 'sms:DisassociateConnector', reason: first ? undefined : t.selectOne, act: () => setOpen('disassociate') },
              ]}
            >
              {t.actions}
            </Menu>
            <Button onClick={() => navigate('/servers')}>{t.import}</Button>
            {associate}
          </SpaceBetween>
        }
      />
      {open === 'associate' ? <AssociateConnector close={close} /> : null}
      {open === 'edit' && first ? <EditConnector connector={first} close={close} /> : null}
      {open === 'disassociate' ? <DisassociateConnectors connectors={selected} close={close} /> : null}
    </>
  );
}
