// The lower pane: snapshots of an image, and what its verification found.

import Alert from '@cloudscape-design/components/alert';
import Header from '@cloudscape-design/components/header';
import KeyValuePairs from '@cloudscape-design/components/key-value-pairs';
import SpaceBetween from '@cloudscape-design/components/space-between';
import SplitPanel from '@cloudscape-design/components/split-panel';
import Table from '@cloudscape-design/components/table';
import type { ImageDescription, SnapshotDescription } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, grouped } from '../../components/format';
import { Go } from '../../components/Go';
import { Id } from '../../components/Id';
import { When } from '../../components/When';
import { listOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { images } from '../../strings/images';
import { jobs } from '../../strings/jobs';
import { VerificationState } from './ImagesPage';

const t = images.panel;

export function ImagePanel({ images: shown }: { images: readonly ImageDescription[] }) {
  const [image] = shown.length === 1 ? shown : [];
  return (
    <SplitPanel
      header={image ? `${image.serverName} – ${image.imageId}` : t.many(shown.length)}
      closeBehavior="collapse"
      hidePreferencesButton
      i18nStrings={{ closeButtonAriaLabel: jobs.panel.close, openButtonAriaLabel: jobs.panel.open, resizeHandleAriaLabel: jobs.panel.resize }}
    >
      {image ? <Details image={image} /> : <ul>{shown.map((each) => <li key={each.imageId}>{each.serverName} ({each.imageId})</li>)}</ul>}
    </SplitPanel>
  );
}

function Details({ image }: { image: ImageDescription }) {
  const { verification } = image;
  return (
    <SpaceBetween size="l">
      <KeyValuePairs
        columns={4}
        items={[
          { label: images.columns.verification, value: <><VerificationState image={image} /> <div className="gw-quiet">{t.states[verification.state]}</div></> },
          { label: images.columns.verified, value: <When time={verification.verifiedOn} /> },
          { label: images.columns.created, value: <When time={image.createdOn} both /> },
          { label: images.columns.key, value: image.keyId ? <>{image.keyId}{image.keyVersion === undefined ? '' : `, ${t.keyVersion(image.keyVersion)}`}</> : '–' },
          { label: images.columns.run, value: <Go to={`/jobs?job=${image.replicationJobId}&tab=history&run=${image.replicationRunId}`}>{image.replicationRunId}</Go> },
          { label: images.columns.job, value: <Go to={`/jobs?job=${image.replicationJobId}`}>{image.replicationJobId}</Go> },
          { label: images.columns.description, value: image.description },
        ]}
      />
      {verification.message ? <Alert type={verification.state === 'DAMAGED' ? 'error' : 'warning'} header={t.message}>{verification.message}</Alert> : null}
      <Snapshots image={image} />
      {verification.damaged.length > 0 ? (
        <Table
          variant="embedded"
          header={<Header variant="h3" counter={`(${verification.damaged.length})`}>{t.damaged}</Header>}
          items={verification.damaged.slice(0, 100)}
          ariaLabels={{ tableLabel: t.damaged }}
          columnDefinitions={[
            { id: 'volume', header: t.device, cell: (range) => image.volumes[range.volume]?.device ?? range.volume, isRowHeader: true },
            { id: 'offset', header: t.offset, cell: (range) => grouped(range.offset) },
            { id: 'length', header: t.length, cell: (range) => bytes(range.length) },
          ]}
        />
      ) : null}
    </SpaceBetween>
  );
}

function Snapshots({ image }: { image: ImageDescription }) {
  const snapshots = useQuery(listOf('godwit:DescribeSnapshots', { imageId: image.imageId }, (answer) => answer.snapshots, ['snapshots']));
  const byId = new Map(snapshots.data?.map((snapshot) => [snapshot.snapshotId, snapshot]));
  const of = (id: string): SnapshotDescription | undefined => byId.get(id);
  return (
    <>
      {snapshots.error ? <ErrorBox error={snapshots.error} what={t.snapshots} again={snapshots.again} /> : null}
      <Table
        variant="embedded"
        header={<Header variant="h3">{t.snapshots}</Header>}
        items={image.volumes}
        trackBy="volume"
        loading={snapshots.loading}
        loadingText={common.loading}
        ariaLabels={{ tableLabel: t.snapshots }}
        columnDefinitions={[
          { id: 'device', header: t.device, cell: (volume) => volume.device, isRowHeader: true },
          { id: 'size', header: t.size, cell: (volume) => bytes(volume.size) },
          { id: 'snapshot', header: t.snapshot, cell: (volume) => <Id id={volume.snapshotId} what={t.snapshot} /> },
          { id: 'parent', header: t.parent, cell: (volume) => of(volume.snapshotId)?.parentSnapshotId ?? t.none },
          { id: 'stored', header: t.stored, cell: (volume) => bytes(of(volume.snapshotId)?.bytesStored) },
          { id: 'digest', header: t.digest, cell: (volume) => <Id id={volume.rootDigest} shown={`${volume.rootDigest.slice(0, 16)}…`} what={t.digest} /> },
        ]}
      />
    </>
  );
}
