// Changes what a job is set to.

import FormField from '@cloudscape-design/components/form-field';
import { useState } from 'react';
import { call } from '../../api/client';
import type { JobDescription } from '../../api/generated/shapes';
import { FormModal } from '../../components/FormModal';
import { cache } from '../../state/cache';
import { serverNow } from '../../state/clock';
import { tellSuccess } from '../../state/messages';
import { useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { jobs } from '../../strings/jobs';
import { wizard as t } from '../../strings/wizard';
import { serversQuery } from '../servers/query';
import { formOf, licenceOf, MEMBERS, problems, updateRequest } from '../wizard/form';
import { LicenceSelect } from '../wizard/Licences';
import { SettingsFields } from '../wizard/SettingsFields';

export default function EditJob({ job, close }: { job: JobDescription; close: () => void }) {
  // As it was when the form was opened: only what somebody changes here is sent.
  const [was] = useState(job);
  const [form, setForm] = useState(() => formOf(job));
  const [licence, setLicence] = useState(() => licenceOf(job));
  const catalog = useQuery(serversQuery);
  const platform = catalog.data?.servers.find((server) => server.serverId === job.serverId)?.platform;
  return (
    <FormModal
      title={`${t.editTitle}: ${job.serverName}`}
      verb={common.save}
      size="large"
      members={MEMBERS}
      check={() => problems(form, serverNow())}
      act={async () => {
        await call('godwit:UpdateReplicationJob', updateRequest(was, form, licence));
        cache.invalidate(['jobs', 'runs']);
        tellSuccess(jobs.edited);
      }}
      close={close}
    >
      {(errors) => (
        <>
          <FormField label={t.columns.licence} errorText={errors.licenseType}>
            <LicenceSelect server={{ name: job.serverName, ...(platform === undefined ? {} : { platform }) }} wish={licence} change={setLicence} />
          </FormField>
          <SettingsFields form={form} change={(changes) => setForm((before) => ({ ...before, ...changes }))} errors={errors} editing />
        </>
      )}
    </FormModal>
  );
}
