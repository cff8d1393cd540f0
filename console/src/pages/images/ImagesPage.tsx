// Images: what runs made, whether it is undamaged, and what can be done with it.

import Button from '@cloudscape-design/components/button';
import ButtonDropdown from '@cloudscape-design/components/button-dropdown';
import { useEffect, useMemo, useState } from 'react';
import { call } from '../../api/client';
import { asApiError } from '../../api/errors';
import type { ImageDescription } from '../../api/generated/shapes';
import type { Action } from '../../api/operations';
import { Confirm, forEach } from '../../components/Confirm';
import { bytes, percent } from '../../components/format';
import { Go } from '../../components/Go';
import { Id } from '../../components/Id';
import { Meter } from '../../components/Meter';
import { verificationName, verificationTone } from '../../components/names';
import { type Column, Empty, ResourceTable } from '../../components/ResourceTable';
import { Status } from '../../components/Status';
import { When } from '../../components/When';
import { navigate, useParameter } from '../../routes/router';
import { cache } from '../../state/cache';
import { tellError, tellSuccess } from '../../state/messages';
import { useQuery } from '../../state/query';
import { useAllows } from '../../state/session';
import { useSplit } from '../../state/split';
import { common } from '../../strings/common';
import { images as t } from '../../strings/images';
import { imagesQuery } from './query';
import { ExportDialog } from './ExportDialog';
import { removeLeftovers } from './files';
import { ImagePanel } from './ImagePanel';

export function VerificationState({ image }: { image: ImageDescription }) {
  const { state, bytesVerified, bytesTotal } = image.verification;
  if (state === 'RUNNING') return <Meter value={percent(bytesVerified ?? 0, bytesTotal ?? 0)} label={`${t.panel.verifying}: ${image.imageId}`} />;
  return <Status tone={verificationTone(state)}>{verificationName(state)}</Status>;
}

const columns: readonly Column<ImageDescription>[] = [
  { id: 'id', header: t.columns.id, value: (image) => image.imageId, width: 230, cell: (image) => <Id id={image.imageId} what={t.columns.id} /> },
  { id: 'server', header: t.columns.server, value: (image) => image.serverName, width: 160 },
  { id: 'created', header: t.columns.created, value: (image) => image.createdOn, unfiltered: true, width: 150, cell: (image) => <When time={image.createdOn} /> },
  { id: 'verification', header: t.columns.verification, value: (image) => verificationName(image.verification.state), width: 160, cell: (image) => <VerificationState image={image} /> },
  { id: 'verified', header: t.columns.verified, value: (image) => image.verification.verifiedOn ?? 0, unfiltered: true, hidden: true, width: 150, cell: (image) => <When time={image.verification.verifiedOn} /> },
  { id: 'size', header: t.columns.size, value: (image) => image.sizeBytes, unfiltered: true, width: 110, cell: (image) => bytes(image.sizeBytes) },
  { id: 'volumes', header: t.columns.volumes, value: (image) => image.volumes.length, unfiltered: true, width: 115 },
  { id: 'job', header: t.columns.job, value: (image) => image.replicationJobId, width: 180, cell: (image) => <Go to={`/jobs?job=${image.replicationJobId}`}>{image.replicationJobId}</Go> },
  { id: 'run', header: t.columns.run, value: (image) => image.replicationRunId, width: 180, cell: (image) => <Go to={`/jobs?job=${image.replicationJobId}&tab=history&run=${image.replicationRunId}`}>{image.replicationRunId}</Go> },
  { id: 'key', header: t.columns.key, value: (image) => image.keyId, hidden: true, width: 280 },
  { id: 'description', header: t.columns.description, value: (image) => image.description, hidden: true, width: 300 },
];

const keyOf = (image: ImageDescription) => image.imageId;

type Doing = 'verify' | 'export' | 'compare' | 'delete';

const PERMISSIONS: Record<Doing, Action> = {
  verify: 'godwit:StartImageVerification',
  export: 'godwit:ReadImage',
  compare: 'godwit:ListImageChanges',
  delete: 'godwit:DeleteImage',
};

/** Why something cannot be done with what is selected. */
function whyNot(doing: Doing, selected: readonly ImageDescription[]): string | undefined {
  const [first, second] = selected;
  if (!first) return t.reasons.none;
  switch (doing) {
    case 'verify':
      return selected.every((image) => image.verification.state === 'RUNNING') ? t.reasons.running : undefined;
    case 'export':
      return selected.length > 1 ? t.reasons.one : undefined;
    case 'compare':
      return selected.length === 2 && first.serverId === second?.serverId ? undefined : t.reasons.two;
    case 'delete':
      return undefined;
  }
}

export default function ImagesPage() {
  const all = useQuery(imagesQuery);
  const [chosen, setChosen] = useParameter('image');
  const [open, setOpen] = useState<'export' | 'delete'>();
  useEffect(() => void removeLeftovers().catch(() => undefined), []);
  const allows = useAllows();
  const selectedIds = useMemo(() => (chosen === '' ? [] : chosen.split(',')), [chosen]);
  const selected = useMemo(() => (all.data ?? []).filter((image) => selectedIds.includes(image.imageId)), [all.data, selectedIds]);
  const [first] = selected;
  const panel = useMemo(() => (selected.length > 0 ? <ImagePanel images={selected} /> : undefined), [selected]);
  useSplit(panel, selected.length === 1 ? (first?.imageId ?? '') : '');

  const act = async (doing: Doing) => {
    if (doing === 'export' || doing === 'delete') return setOpen(doing);
    if (doing === 'compare') {
      const [older, newer] = [...selected].sort((a, b) => a.createdOn - b.createdOn);
      return navigate(`/images/compare?older=${older?.imageId}&newer=${newer?.imageId}`);
    }
    try {
      const able = selected.filter((image) => image.verification.state !== 'RUNNING');
      const errors = await forEach(able, (image) => call('godwit:StartImageVerification', { imageId: image.imageId }));
      cache.invalidate(['images']);
      const [error] = errors;
      if (error) tellError(t.verifyFailed, error);
      else tellSuccess(t.verifyStarted(able.length));
    } catch (thrown) {
      tellError(t.verifyFailed, asApiError(thrown));
    }
  };
  const item = (doing: Doing, text: string) => {
    const why = allows(PERMISSIONS[doing]) ? whyNot(doing, selected) : common.notAllowed(PERMISSIONS[doing]);
    return { id: doing, text, disabled: why !== undefined, ...(why ? { disabledReason: why } : {}) };
  };

  return (
    <>
      <ResourceTable
        name="images"
        title={t.title}
        words={t.words}
        result={all}
        columns={columns}
        keyOf={keyOf}
        selection="multi"
        selected={selectedIds}
        onSelect={(keys) => setChosen(keys.join(','))}
        parameter="filter"
        empty={<Empty title={t.empty} hint={t.emptyHint} action={<Button onClick={() => navigate('/jobs')}>{t.toJobs}</Button>} />}
        actions={
          <ButtonDropdown
            expandToViewport
            items={[item('verify', t.verify), item('export', t.export), item('compare', t.compare), item('delete', t.delete)]}
            onItemClick={({ detail }) => void act(detail.id as Doing)}
          >
            {t.actions}
          </ButtonDropdown>
        }
      />
      {open === 'export' && first ? <ExportDialog image={first} close={() => setOpen(undefined)} /> : null}
      {open === 'delete' ? <DeleteImages images={selected} close={() => setOpen(undefined)} onDone={() => setChosen('')} /> : null}
    </>
  );
}

function DeleteImages({ images, close, onDone }: { images: readonly ImageDescription[]; close: () => void; onDone: () => void }) {
  const [asked] = useState(images);
  return (
    <Confirm
      title={t.deleteTitle(asked.length)}
      verb={common.delete}
      danger
      word="delete"
      close={close}
      act={async () => {
        const errors = await forEach(asked, (image) => call('godwit:DeleteImage', { imageId: image.imageId }));
        cache.invalidate(['images', 'snapshots']);
        onDone();
        const [error] = errors;
        if (error) tellError(`${t.deleteFailed}: ${common.failedOf(errors.length, asked.length)}`, error);
        else tellSuccess(t.deleted(asked.length));
      }}
    >
      <strong>{asked.slice(0, 8).map((image) => `${image.imageId} (${image.serverName})`).join(', ')}{asked.length > 8 ? ' …' : ''}</strong>
      <div>{t.deleteHint}</div>
    </Confirm>
  );
}
