// What the store holds, its sweeps and its scrub.

import Alert from '@cloudscape-design/components/alert';
import Container from '@cloudscape-design/components/container';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Table from '@cloudscape-design/components/table';
import { call } from '../../api/client';
import { asApiError } from '../../api/errors';
import type { PackCount, SweepState } from '../../api/generated/shapes';
import { ActionButton } from '../../components/ActionButton';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, grouped, percent } from '../../components/format';
import { Meter } from '../../components/Meter';
import { displayCase, type Tone } from '../../components/names';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { cache } from '../../state/cache';
import { tellError, tellSuccess } from '../../state/messages';
import { answerOf, listOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { settings } from '../../strings/settings';

const t = settings.store;
const ROWS = ['all', 'named', 'staged', 'expiredStaged', 'waiting', 'released', 'expired', 'doubtful', 'repackable'] as const;
const TONES: Record<SweepState, Tone> = { RUNNING: 'in-progress', COMPLETED: 'success', FAILED: 'error' };

export function Store() {
  return (
    <SpaceBetween size="l">
      <Content />
      <Scrub />
      <Sweeps />
    </SpaceBetween>
  );
}

async function attempt(work: () => Promise<string>): Promise<void> {
  try {
    tellSuccess(await work());
    cache.invalidate(['store']);
  } catch (thrown) {
    tellError(t.failed, asApiError(thrown));
  }
}

function Content() {
  const store = useQuery(answerOf('godwit:DescribeStore', {}, ['store', 'images']));
  const content = store.data?.content;
  const rows = content ? ROWS.map((id): PackCount & { id: (typeof ROWS)[number] } => ({ id, ...content[id] })).filter((row) => row.id === 'all' || row.packs > 0) : [];
  const sweep = () => attempt(async () => {
    await call('godwit:StartSweep', {});
    return t.sweepStarted;
  });
  return (
    <SpaceBetween size="m">
      {store.error ? <ErrorBox error={store.error} what={t.title} again={store.again} stale={!!store.data} /> : null}
      {content?.unreadable.map((snapshot) => <Alert key={snapshot.snapshotId} type="error" header={snapshot.snapshotId}>{snapshot.message}</Alert>)}
      <Table
        header={
          <Header
            variant="h2"
            description={content ? `${t.toFree} ${bytes(content.bytesToFree)} · ${t.dead}: ${bytes(content.deadBytes)} · ${t.staging} ${t.hours(content.stagingHours)}` : undefined}
            actions={<ActionButton action="godwit:StartSweep" onClick={() => void sweep()}>{t.sweep}</ActionButton>}
          >
            {t.title}
          </Header>
        }
        items={rows}
        trackBy="id"
        loading={store.loading}
        loadingText={common.loading}
        ariaLabels={{ tableLabel: t.title }}
        columnDefinitions={[
          { id: 'what', header: t.columns.what, cell: (row) => t.rows[row.id], isRowHeader: true },
          { id: 'packs', header: t.columns.packs, cell: (row) => grouped(row.packs) },
          { id: 'bytes', header: t.columns.bytes, cell: (row) => bytes(row.bytes) },
          { id: 'oldest', header: t.columns.oldest, cell: (row) => <When time={row.oldest} /> },
        ]}
      />
    </SpaceBetween>
  );
}

function Scrub() {
  const scrub = useQuery(answerOf('godwit:DescribeScrub', {}, ['store']));
  const start = () => attempt(async () => t.scrubStarted((await call('godwit:StartScrub', {})).round));
  const known = scrub.data;
  return (
    <Container header={<Header variant="h2" description={t.scrubHint} actions={<ActionButton action="godwit:StartScrub" onClick={() => void start()}>{t.scrub}</ActionButton>}>{t.scrubTitle}</Header>}>
      {scrub.error && !known ? <ErrorBox error={scrub.error} what={t.scrubTitle} again={scrub.again} /> : null}
      {known ? (
        <SpaceBetween size="m">
          {known.problem ? <Alert type="error">{known.problem}</Alert> : null}
          {known.message ? <Alert type="warning">{known.message}</Alert> : null}
          <KeyValuePairs
            columns={4}
            items={[
              { label: t.round, value: known.round === 0 ? '–' : `${known.round}${known.open ? `, ${t.open}` : ''}` },
              { label: t.progress, value: known.open ? <Meter value={percent(known.bytesChecked, known.bytesTotal)} label={t.progress} text={`${bytes(known.bytesChecked)} / ${bytes(known.bytesTotal)}`} /> : bytes(known.bytesChecked) },
              { label: t.ended, value: <When time={known.endedOn} otherwise={t.never} /> },
              { label: t.next, value: <When time={known.nextOn} /> },
              { label: t.damaged, value: <Status tone={known.damagedPacks > 0 ? 'error' : 'success'}>{known.damagedPacks}</Status> },
              { label: t.skipped, value: String(known.packsSkipped) },
            ]}
          />
        </SpaceBetween>
      ) : null}
    </Container>
  );
}

function Sweeps() {
  const sweeps = useQuery(listOf('godwit:DescribeSweeps', {}, (answer) => answer.sweeps, ['store'], 100));
  const c = t.sweepColumns;
  return (
    <>
      {sweeps.error ? <ErrorBox error={sweeps.error} what={t.sweeps} again={sweeps.again} stale={!!sweeps.data} /> : null}
      <Table
        header={<Header variant="h2">{t.sweeps}</Header>}
        items={(sweeps.data ?? []).slice(0, 20)}
        trackBy="sweepId"
        loading={sweeps.loading}
        loadingText={common.loading}
        empty={t.noSweeps}
        ariaLabels={{ tableLabel: t.sweeps }}
        columnDefinitions={[
          { id: 'began', header: c.began, cell: (sweep) => <When time={sweep.startedOn} />, isRowHeader: true },
          { id: 'state', header: c.state, cell: (sweep) => <Status tone={TONES[sweep.state]}>{displayCase(sweep.state)}</Status> },
          { id: 'freed', header: c.freed, cell: (sweep) => bytes(sweep.bytesFreed) },
          { id: 'moved', header: c.moved, cell: (sweep) => bytes(sweep.bytesMoved) },
          { id: 'left', header: c.left, cell: (sweep) => String(sweep.left) },
          { id: 'asked', header: c.asked, cell: (sweep) => (sweep.onDemand ? t.asked : t.schedule) },
          { id: 'message', header: c.message, cell: (sweep) => sweep.message ?? '–' },
        ]}
      />
    </>
  );
}
