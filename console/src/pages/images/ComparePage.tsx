// Two images of a server: what changed between them, as a map of the disk.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import Container from '@cloudscape-design/components/container';
import ContentLayout from '@cloudscape-design/components/content-layout';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import ProgressBar from '@cloudscape-design/components/progress-bar';
import Select from '@cloudscape-design/components/select';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Spinner from '@cloudscape-design/components/spinner';
import Table from '@cloudscape-design/components/table';
import { useState } from 'react';
import type { ImageDescription } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, percent } from '../../components/format';
import { Empty } from '../../components/ResourceTable';
import { When } from '../../components/When';
import { navigate, useParameter } from '../../routes/router';
import { listOf, useQuery } from '../../state/query';
import { useAllows } from '../../state/session';
import { common } from '../../strings/common';
import { images } from '../../strings/images';
import { KINDS } from './diff';
import { COLOURS, DiskMapView } from './DiskMapView';
import { useComparison } from './useComparison';

const t = images.comparing;

export default function ComparePage() {
  const [olderId] = useParameter('older');
  const [newerId] = useParameter('newer');
  const both = useQuery(olderId && newerId ? listOf('godwit:DescribeImages', { imageIds: [olderId, newerId] }, (answer) => answer.images, ['images']) : undefined);
  const older = both.data?.find((image) => image.imageId === olderId);
  const newer = both.data?.find((image) => image.imageId === newerId);
  return (
    <ContentLayout header={<Header variant="h1">{t.title}</Header>}>
      {both.error && !both.data ? (
        <ErrorBox error={both.error} what={images.title} again={both.again} />
      ) : older && newer ? (
        <Comparison older={older} newer={newer} />
      ) : both.loading ? (
        <Spinner />
      ) : (
        <Empty title={t.pick} action={<Button onClick={() => navigate('/images')}>{t.toImages}</Button>} />
      )}
    </ContentLayout>
  );
}

type Pair = { older: ImageDescription; newer: ImageDescription };

function Comparison({ older, newer }: Pair) {
  const devices = older.volumes.map((volume) => volume.device).filter((device) => newer.volumes.some((volume) => volume.device === device));
  const [device, setDevice] = useState(devices[0]);
  const options = devices.map((value) => ({ value, label: value }));
  const side = (label: string, image: ImageDescription) => ({
    label,
    value: <>{image.imageId}<div><When time={image.createdOn} both /></div></>,
  });
  return (
    <SpaceBetween size="l">
      <Container>
        <KeyValuePairs
          columns={3}
          items={[
            side(t.older, older),
            side(t.newer, newer),
            {
              label: t.volume,
              value: device ? (
                <Select ariaLabel={t.volume} options={options} selectedOption={options.find((option) => option.value === device) ?? null} onChange={({ detail }) => setDevice(detail.selectedOption.value)} />
              ) : '–',
            },
          ]}
        />
      </Container>
      {device ? <VolumeComparison key={device} older={older} newer={newer} device={device} /> : <Alert type="info">{t.noVolume}</Alert>}
    </SpaceBetween>
  );
}

function VolumeComparison({ older, newer, device }: Pair & { device: string }) {
  const allows = useAllows();
  const { state, start, stop } = useComparison(older, newer, device);
  if (state.error) return <ErrorBox error={state.error} what={t.map} />;
  if (!state.map) return <Spinner />;
  const { totals } = state;
  const size = KINDS.reduce((all, kind) => all + totals[kind], 0);
  const summary = KINDS.filter((kind) => totals[kind] > 0).map((kind) => `${t.kinds[kind]}: ${bytes(totals[kind])}`).join(', ');
  return (
    <Container
      header={
        <Header
          variant="h2"
          description={t.cell(state.map.cellSize)}
          actions={
            state.working ? (
              <Button onClick={stop}>{t.stop}</Button>
            ) : totals.unknown > 0 ? (
              <Button
                variant="primary"
                onClick={start}
                disabled={!allows('godwit:ReadImage')}
                {...(allows('godwit:ReadImage') ? {} : { disabledReason: common.notAllowed('godwit:ReadImage') })}
              >
                {t.read}
              </Button>
            ) : undefined
          }
        >
          {t.map}
        </Header>
      }
    >
      <SpaceBetween size="m">
        {state.identical ? <Alert type="success">{t.identical}</Alert> : null}
        {state.working || totals.unknown === 0 ? null : <div className="gw-quiet">{t.readHint(totals.unknown)}</div>}
        {state.working ? <ProgressBar value={Math.floor(percent(state.done, state.all))} label={t.resumed} additionalInfo={`${bytes(state.done)} / ${bytes(state.all)}`} /> : null}
        <DiskMapView cells={state.map.cells} version={state.version} label={t.label(summary)} />
        <Table
          variant="embedded"
          ariaLabels={{ tableLabel: t.map }}
          items={KINDS.filter((kind) => totals[kind] > 0)}
          columnDefinitions={[
            { id: 'kind', header: t.kind, isRowHeader: true, cell: (kind) => <><svg className="gw-swatch" viewBox="0 0 12 12" aria-hidden="true"><rect width="12" height="12" rx="3" fill={COLOURS[kind]} /></svg>{t.kinds[kind]}</> },
            { id: 'amount', header: t.amount, cell: (kind) => bytes(totals[kind]) },
            { id: 'share', header: t.share, cell: (kind) => `${percent(totals[kind], size).toFixed(1)} %` },
          ]}
        />
      </SpaceBetween>
    </Container>
  );
}
