// Exports go on while other pages are looked at: they are told as messages.

import Button from '@cloudscape-design/components/button';
import ProgressBar from '@cloudscape-design/components/progress-bar';
import { asApiError } from '../../api/errors';
import type { ImageDescription } from '../../api/generated/shapes';
import { rate } from '../../components/format';
import { dismiss, tell, tellError } from '../../state/messages';
import { images } from '../../strings/images';
import { copyTime, openFile, type Saving } from './files';
import { exportVolume, type Format } from './transfer';

const t = images.exporting;

/** Milliseconds between two looks at the progress. */
const SHOWN_EVERY = 500;

export async function startExport(image: ImageDescription, volume: number, format: Format): Promise<void> {
  const device = image.volumes[volume]?.device ?? String(volume);
  const name = `${image.serverName}-${device}-${image.imageId}.${format}`.replace(/[^A-Za-z0-9._-]/g, '_');
  const target = await openFile(name);
  if (!target) return;
  const abort = new AbortController();
  const leaving = (event: BeforeUnloadEvent) => event.preventDefault();
  window.addEventListener('beforeunload', leaving);
  const id = `export-${name}`;
  const began = Date.now();
  let shown = 0;
  const show = (done: number, all: number) => {
    if (Date.now() - shown < SHOWN_EVERY && done < all) return;
    shown = Date.now();
    const pace = rate(done / Math.max(0.5, (shown - began) / 1000));
    tell({
      id,
      type: 'in-progress',
      content: (
        <ProgressBar
          variant="flash"
          value={all === 0 ? 100 : Math.floor((100 * done) / all)}
          label={t.progress(name)}
          additionalInfo={t.detail(done, all, pace)}
          description={<Button variant="inline-link" onClick={() => abort.abort()}>{t.cancel}</Button>}
        />
      ),
    });
  };
  try {
    show(0, 0);
    await exportVolume(image.imageId, volume, format, target.sink, show, abort.signal);
    const saved = await target.finish();
    if (saved) save(name, saved);
    tell({ id, type: 'success', content: t.done(name) });
  } catch (thrown) {
    await target.abort().catch(() => undefined);
    dismiss(id);
    if (abort.signal.aborted) tell({ type: 'info', content: t.cancelled(name) });
    else tellError(t.failed(name), asApiError(thrown));
  } finally {
    window.removeEventListener('beforeunload', leaving);
  }
}

/** The browser copies the file to where its downloads go. Then nobody needs the first copy. */
function save(name: string, { url, size, discard }: Saving): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => void discard().catch(() => undefined), copyTime(size));
}
