// Which volume, in which format.

import Alert from '@cloudscape-design/components/alert';
import Box from '@cloudscape-design/components/box';
import FormField from '@cloudscape-design/components/form-field';
import RadioGroup from '@cloudscape-design/components/radio-group';
import Select from '@cloudscape-design/components/select';
import { useState } from 'react';
import type { ImageDescription } from '../../api/generated/shapes';
import { bytes } from '../../components/format';
import { FormModal } from '../../components/FormModal';
import { asApiError } from '../../api/errors';
import { tellError } from '../../state/messages';
import { images } from '../../strings/images';
import { startExport } from './exports';
import { canWriteFiles } from './files';
import type { Format } from './transfer';

const t = images.exporting;

export function ExportDialog({ image, close }: { image: ImageDescription; close: () => void }) {
  const [volume, setVolume] = useState(0);
  const [format, setFormat] = useState<Format>('qcow2');
  const options = image.volumes.map((each) => ({ value: String(each.volume), label: each.device, description: bytes(each.size) }));
  return (
    <FormModal
      title={t.title(image.imageId)}
      verb={t.verb}
      members={[]}
      act={async () => {
        if (!canWriteFiles()) throw new Error(t.impossible);
        // The dialog closes; the export goes on and is told as a message.
        startExport(image, volume, format).catch((thrown: unknown) => tellError(t.failed(image.imageId), asApiError(thrown)));
      }}
      close={close}
    >
      {() => (
        <>
          <FormField label={t.volume}>
            <Select options={options} selectedOption={options[volume] ?? null} onChange={({ detail }) => setVolume(Number(detail.selectedOption.value))} />
          </FormField>
          <FormField label={t.format}>
            <RadioGroup
              value={format}
              onChange={({ detail }) => setFormat(detail.value === 'raw' ? 'raw' : 'qcow2')}
              items={[
                { value: 'qcow2', label: t.qcow2, description: t.qcow2Hint },
                { value: 'raw', label: t.raw, description: t.rawHint },
              ]}
            />
          </FormField>
          <Alert type="info">{t.hint}</Alert>
          <Box color="text-body-secondary" fontSize="body-s">{t.cli(image.imageId)}</Box>
        </>
      )}
    </FormModal>
  );
}
