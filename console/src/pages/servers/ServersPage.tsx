// The catalog: import it, find servers in it, create jobs for them.

import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import { useEffect, useMemo, useRef, useState } from 'react';
import { call } from '../../api/client';
import { asApiError } from '../../api/errors';
import { ActionButton } from '../../components/ActionButton';
import { Confirm } from '../../components/Confirm';
import { bytes } from '../../components/format';
import { Go } from '../../components/Go';
import { Id } from '../../components/Id';
import { displayCase, platformName } from '../../components/names';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { JobState, Status } from '../../components/Status';
import { When } from '../../components/When';
import { navigate } from '../../routes/router';
import { cache } from '../../state/cache';
import { tell, tellError, tellSuccess } from '../../state/messages';
import { useQuery } from '../../state/query';
import { servers as t } from '../../strings/servers';
import { connectorsQuery } from '../connectors/query';
import { jobsQuery } from '../jobs/query';
import { createJobFor } from '../wizard/chosen';
import { type ServerRow, whyNoJobs } from './actions';
import { hasEnded, importMessage } from './import';
import { type Catalog, serversQuery } from './query';
import { useImportNotice } from './useImportNotice';

const size = ({ server }: ServerRow) => server.volumes.reduce((all, volume) => all + volume.size, 0);

const columns: readonly Column<ServerRow>[] = [
  { id: 'name', header: t.columns.name, value: ({ server }) => server.name, width: 220 },
  { id: 'platform', header: t.columns.platform, value: ({ server }) => platformName(server.platform), width: 150 },
  { id: 'manager', header: t.columns.manager, value: ({ server }) => server.managerName, width: 180 },
  {
    id: 'jobState', header: t.columns.jobState, value: ({ jobState }) => (jobState ? displayCase(jobState) : t.noJob), width: 170,
    cell: ({ jobState }) => (jobState ? <JobState state={jobState} /> : <Box color="text-status-inactive">{t.noJob}</Box>),
  },
  {
    id: 'job', header: t.columns.job, value: ({ server }) => server.replicationJobId, width: 180,
    cell: ({ server }) => (server.replicationJobId ? <Go to={`/jobs?job=${server.replicationJobId}`}>{server.replicationJobId}</Go> : '–'),
  },
  { id: 'volumes', header: t.columns.volumes, value: ({ server }) => server.volumes.length, unfiltered: true, width: 100 },
  { id: 'size', header: t.columns.size, value: size, unfiltered: true, width: 110, cell: (row) => bytes(size(row)) },
  {
    id: 'status', header: t.columns.status, value: ({ server }) => (server.missingSince === undefined ? t.there : t.missing), width: 150,
    cell: ({ server }) => server.missingSince === undefined ? <Status tone="success">{t.there}</Status> : <Status tone="warning">{t.missing}, <When time={server.missingSince} /></Status>,
  },
  { id: 'path', header: t.columns.path, value: ({ server }) => server.path, hidden: true, width: 220 },
  { id: 'id', header: t.columns.id, value: ({ server }) => server.serverId, width: 150, cell: ({ server }) => <Id id={server.serverId} what={t.columns.id} /> },
  { id: 'vmId', header: t.columns.vmId, value: ({ server }) => server.vmId, hidden: true, width: 300 },
];

const keyOf = (row: ServerRow) => row.server.serverId;
const nameOf = (row: ServerRow) => row.server.name;

export function ServersPage() {
  const catalog = useQuery(serversQuery);
  const jobs = useQuery(jobsQuery);
  const connectors = useQuery(connectorsQuery);
  const [selected, setSelected] = useState<string[]>([]);
  const [clearing, setClearing] = useState(false);

  const rows = useMemo(() => {
    const states = new Map(jobs.data?.map((job) => [job.replicationJobId, job.state]));
    return catalog.data?.servers.map((server): ServerRow => ({ server, jobState: server.replicationJobId ? states.get(server.replicationJobId) : undefined }));
  }, [catalog.data, jobs.data]);
  const chosen = useMemo(() => (rows ?? []).filter((row) => selected.includes(row.server.serverId)), [rows, selected]);
  const importing = catalog.data?.status === 'IMPORTING';
  useToldWhenImported(catalog.data);
  const notice = useImportNotice(catalog.data);

  const noConnectors = connectors.data?.length === 0;
  const isFirst = catalog.data?.status === 'NOT_IMPORTED';
  const importText = isFirst || catalog.data === undefined ? t.import : t.reimport;
  const startImport = async () => {
    try {
      await call('sms:ImportServerCatalog', {});
      cache.invalidate(['catalog']);
    } catch (thrown) {
      tellError(t.importFailed, asApiError(thrown));
    }
  };
  const importButton = (
    <ActionButton
      action="sms:ImportServerCatalog"
      onClick={() => void startImport()}
      loading={importing}
      iconName="refresh"
      reason={noConnectors ? t.reasons.noConnectors : importing ? t.reasons.importing : undefined}
    >
      {importText}
    </ActionButton>
  );

  return (
    <>
      <ResourceTable
        name="servers"
        title={t.title}
        words={t.words}
        result={{ ...catalog, data: rows }}
        columns={columns}
        keyOf={keyOf}
        nameOf={nameOf}
        selection="multi"
        selected={selected}
        onSelect={setSelected}
        parameter="filter"
        sort={{ column: 'name' }}
        description={
          catalog.data ? <>{importing ? <><Spinner /> </> : null}{t.status[catalog.data.status]} · {t.changedOn} <When time={catalog.data.changedOn} /></> : undefined
        }
        notice={notice}
        empty={
          noConnectors ? (
            <Empty title={t.empty} hint={t.emptyNoConnectors} action={<Button variant="primary" onClick={() => navigate('/connectors')}>{t.associate}</Button>} />
          ) : (
            <Empty title={t.empty} hint={importing ? t.emptyImporting : t.emptyHint} action={importing ? <Spinner /> : importButton} />
          )
        }
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <ActionButton action="sms:DeleteServerCatalog" onClick={() => setClearing(true)} reason={rows?.length === 0 ? t.reasons.empty : undefined}>{t.clear}</ActionButton>
            {importButton}
            <ActionButton action="godwit:CreateReplicationJob" variant="primary" onClick={() => createJobFor(selected)} reason={whyNoJobs(chosen)}>{t.create}</ActionButton>
          </SpaceBetween>
        }
      />
      {clearing ? (
        <Confirm
          title={t.clear}
          verb={t.clear}
          danger
          close={() => setClearing(false)}
          act={async () => {
            await call('sms:DeleteServerCatalog', {});
            setSelected([]);
            cache.invalidate(['servers', 'catalog']);
            tellSuccess(t.cleared);
          }}
        >
          {t.clearHint}
        </Confirm>
      ) : null}
    </>
  );
}

/** An import goes on in the background, also of somebody else: say so when it is done. */
function useToldWhenImported(catalog: Catalog | undefined): void {
  const before = useRef(catalog);
  useEffect(() => {
    if (catalog && hasEnded(before.current, catalog)) tell({ id: 'import', ...importMessage(catalog.lastImport, catalog.servers.length) });
    before.current = catalog;
  }, [catalog]);
}
