// The settings that the service works with, section by section.

import Box from '@cloudscape-design/components/box';
import Container from '@cloudscape-design/components/container';
import Header from '@cloudscape-design/components/header';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import Table from '@cloudscape-design/components/table';
import TextFilter from '@cloudscape-design/components/text-filter';
import Toggle from '@cloudscape-design/components/toggle';
import { useMemo, useState } from 'react';
import type { SettingDescription } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { Status } from '../../components/Status';
import { answerOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';
import { COMMAND_LINE, countOf, nameIn, type Section, sectionsOf } from './inForce';

const t = settings.inForce;

export function InForce() {
  // They change with a restart only, behind which any kind counts as changed; this one does so seldom.
  const found = useQuery(answerOf('godwit:DescribeSettings', {}, ['limits']));
  const [text, setText] = useState('');
  const [changed, setChanged] = useState(false);
  const sections = useMemo(() => sectionsOf(found.data?.settings ?? [], text, changed), [found.data, text, changed]);
  const count = countOf(sections);
  return (
    <Container header={<Header variant="h2" description={found.data ? t.where(found.data.file, found.data.fileExists) : undefined}>{t.title}</Header>}>
      <SpaceBetween size="m">
        {found.error ? <ErrorBox error={found.error} what={t.title} again={found.again} stale={!!found.data} /> : null}
        {found.data ? (
          <SpaceBetween size="m" direction="horizontal" alignItems="center">
            <TextFilter
              filteringText={text}
              filteringPlaceholder={t.find}
              filteringAriaLabel={t.find}
              filteringClearAriaLabel={common.table.clearFilter}
              countText={text === '' && !changed ? '' : common.table.matches(count)}
              onChange={({ detail }) => setText(detail.filteringText)}
            />
            <Toggle checked={changed} onChange={({ detail }) => setChanged(detail.checked)}>{t.onlyChanged}</Toggle>
          </SpaceBetween>
        ) : found.error ? null : <Spinner />}
        {found.data && count === 0 ? <Box color="text-body-secondary">{t.none}</Box> : null}
        {sections.map((section) => <SectionTable key={section.id} section={section} />)}
      </SpaceBetween>
    </Container>
  );
}

function SectionTable({ section }: { section: Section }) {
  const title = section.id === COMMAND_LINE ? t.commandLine : `[${section.id}]`;
  const c = t.columns;
  return (
    <Table
      variant="embedded"
      header={<Header variant="h3">{title}</Header>}
      items={section.settings}
      trackBy="name"
      wrapLines
      ariaLabels={{ tableLabel: title }}
      columnDefinitions={[
        { id: 'name', header: c.name, cell: (setting) => <span className="gw-mono">{nameIn(setting)}</span>, isRowHeader: true, width: 210 },
        { id: 'value', header: c.value, cell: (setting) => <Value setting={setting} />, width: 250 },
        { id: 'default', header: c.default, cell: (setting) => setting.default ?? '–', width: 170 },
        { id: 'setIn', header: c.setIn, cell: (setting) => t.setIn[setting.setIn], width: 140 },
        { id: 'about', header: c.about, cell: (setting) => setting.description, minWidth: 240 },
      ]}
    />
  );
}

function Value({ setting }: { setting: SettingDescription }) {
  const value = setting.isHidden ? t.hidden : (setting.value ?? '–');
  return setting.isDefault ? value : <><Box variant="strong">{value}</Box> <Status tone="info">{t.differs}</Status></>;
}
