// The third page: everything once more, with the way back to each part.

import Button from '@cloudscape-design/components/button';
import Container from '@cloudscape-design/components/container';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Table from '@cloudscape-design/components/table';
import type { LicenseWish, ServerDescription } from '../../api/generated/shapes';
import { absolute, interval, zoneName } from '../../components/format';
import { platformName } from '../../components/names';
import { wizard as t } from '../../strings/wizard';
import { type JobForm, localSeconds } from './form';

type Props = {
  servers: readonly ServerDescription[];
  licences: Readonly<Record<string, LicenseWish>>;
  form: JobForm;
  edit: (step: number) => void;
};

export function Review({ servers, licences, form, edit }: Props) {
  const r = t.review;
  const at = localSeconds(form.date, form.time);
  const minutes = Number(form.every) * (form.unit === 'hours' ? 60 : 1);
  const head = (title: string, step: number) => (
    <Header variant="h2" actions={<Button onClick={() => edit(step)} ariaLabel={`${r.edit}: ${title}`}>{r.edit}</Button>}>{title}</Header>
  );
  return (
    <SpaceBetween size="l">
      <Table
        header={head(t.steps.servers, 0)}
        items={servers.slice(0, 20)}
        trackBy="serverId"
        ariaLabels={{ tableLabel: t.steps.servers }}
        footer={servers.length > 20 ? r.servers(servers.length) : undefined}
        columnDefinitions={[
          { id: 'server', header: t.columns.server, cell: (server) => server.name, isRowHeader: true },
          { id: 'platform', header: t.columns.platform, cell: (server) => platformName(server.platform) },
          { id: 'licence', header: t.columns.licence, cell: (server) => t.licence[licences[server.serverId] ?? 'AUTO'] },
        ]}
      />
      <Container header={head(t.steps.settings, 1)}>
        <KeyValuePairs
          columns={3}
          items={[
            { label: t.type, value: form.repeats ? `${t.repeat}: ${interval(minutes)}` : r.oneTime },
            { label: t.start, value: form.start === 'later' && at !== undefined ? `${absolute(at)} (${zoneName(at)})` : r.startsNow },
            { label: t.role, value: form.ownRole ? form.roleName : r.defaultRole },
            { label: t.description, value: form.description.trim() || '–' },
            { label: t.keep, value: form.keepsNewest ? r.newest(form.keep) : r.allImages },
            { label: t.encryption, value: form.encrypted ? form.kmsKeyId || r.defaultKey : t.encryptedNo },
            { label: t.failure, value: form.repeats && form.pauses ? (form.pauseAfter.trim() ? r.pausesAfter(form.pauseAfter.trim()) : r.pauses) : r.fails },
            { label: t.recipients, value: form.recipients.join(', ') || r.nobody },
            { label: t.cap, value: form.cap.trim() || r.noCap },
          ]}
        />
      </Container>
    </SpaceBetween>
  );
}
