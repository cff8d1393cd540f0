// The first page: a licence type for each server.

import Alert from '@cloudscape-design/components/alert';
import ButtonDropdown from '@cloudscape-design/components/button-dropdown';
import Header from '@cloudscape-design/components/header';
import Pagination from '@cloudscape-design/components/pagination';
import Select from '@cloudscape-design/components/select';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Table from '@cloudscape-design/components/table';
import { useState } from 'react';
import type { LicenseWish, ServerDescription } from '../../api/generated/shapes';
import { bytes } from '../../components/format';
import { platformName } from '../../components/names';
import { common } from '../../strings/common';
import { wizard as t } from '../../strings/wizard';
import { licencesFor } from './form';

type Licences = Readonly<Record<string, LicenseWish>>;

type Props = {
  servers: readonly ServerDescription[];
  licences: Licences;
  change: (licences: Licences) => void;
  error: string | undefined;
  loading: boolean;
};

const ROWS = 50;

export function Licences({ servers, licences, change, error, loading }: Props) {
  const [page, setPage] = useState(1);
  const pages = Math.ceil(servers.length / ROWS);
  const setAll = (wish: LicenseWish) => {
    const possible = servers.filter((server) => licencesFor(server.platform).includes(wish));
    change({ ...licences, ...Object.fromEntries(possible.map((server) => [server.serverId, wish])) });
  };
  return (
    <SpaceBetween size="m">
      {error ? <Alert type="error">{error}</Alert> : null}
      <Table
        items={servers.slice((page - 1) * ROWS, page * ROWS)}
        trackBy="serverId"
        loading={loading}
        loadingText={common.loading}
        ariaLabels={{ tableLabel: t.steps.servers }}
        header={
          <Header
            counter={`(${servers.length})`}
            actions={
              <ButtonDropdown
                items={(['AUTO', 'AWS', 'BYOL'] as const).map((id) => ({ id, text: t.licence[id], description: t.licence.hints[id] }))}
                onItemClick={({ detail }) => setAll(detail.id as LicenseWish)}
              >
                {t.licence.setAll}
              </ButtonDropdown>
            }
          >
            {common.pages.servers}
          </Header>
        }
        pagination={pages > 1 ? <Pagination currentPageIndex={page} pagesCount={pages} onChange={({ detail }) => setPage(detail.currentPageIndex)} /> : undefined}
        columnDefinitions={[
          { id: 'server', header: t.columns.server, cell: (server) => server.name, isRowHeader: true },
          { id: 'platform', header: t.columns.platform, cell: (server) => platformName(server.platform) },
          { id: 'volumes', header: t.columns.volumes, cell: (server) => `${server.volumes.length} · ${bytes(server.volumes.reduce((all, volume) => all + volume.size, 0))}` },
          {
            id: 'licence',
            header: t.columns.licence,
            minWidth: 180,
            cell: (server) => (
              <LicenceSelect
                server={server}
                wish={licences[server.serverId] ?? 'AUTO'}
                change={(wish) => change({ ...licences, [server.serverId]: wish })}
              />
            ),
          },
          { id: 'hint', header: t.columns.hint, cell: (server) => meaning(server, licences[server.serverId] ?? 'AUTO') },
        ]}
      />
    </SpaceBetween>
  );
}

export function LicenceSelect({ server, wish, change }: { server: Pick<ServerDescription, 'name' | 'platform'>; wish: LicenseWish; change: (wish: LicenseWish) => void }) {
  const allowed = licencesFor(server.platform);
  const options = (['AUTO', 'AWS', 'BYOL'] as const).map((value) => ({
    value,
    label: t.licence[value],
    description: t.licence.hints[value],
    disabled: !allowed.includes(value),
    ...(allowed.includes(value) ? {} : { disabledReason: t.licence.linux }),
  }));
  return (
    <Select
      expandToViewport
      ariaLabel={t.licence.forServer(server.name)}
      options={options}
      selectedOption={options.find((option) => option.value === wish) ?? null}
      onChange={({ detail }) => change(detail.selectedOption.value as LicenseWish)}
    />
  );
}

function meaning(server: ServerDescription, wish: LicenseWish): string {
  if (wish !== 'AUTO') return t.licence.hints[wish];
  const auto: Record<string, string> = t.licence.auto;
  return auto[server.platform ?? 'unknown'] ?? t.licence.auto.unknown;
}
