// Settings of a job as fields, for the wizard and for editing.

import Container from '@cloudscape-design/components/container';
import DatePicker from '@cloudscape-design/components/date-picker';
import FormField from '@cloudscape-design/components/form-field';
import Header from '@cloudscape-design/components/header';
import Input from '@cloudscape-design/components/input';
import RadioGroup from '@cloudscape-design/components/radio-group';
import Select from '@cloudscape-design/components/select';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Textarea from '@cloudscape-design/components/textarea';
import TimeInput from '@cloudscape-design/components/time-input';
import Toggle from '@cloudscape-design/components/toggle';
import type { ReactNode } from 'react';
import { zoneName } from '../../components/format';
import { serverNow } from '../../state/clock';
import { answerOf, listOf, useQuery } from '../../state/query';
import { wizard as t } from '../../strings/wizard';
import { type JobForm, localParts, localSeconds, LONGEST_LEAD, type Problems } from './form';
import { Recipients } from './Recipients';

type Props = {
  form: JobForm;
  change: (changes: Partial<JobForm>) => void;
  errors: Problems;
  editing?: boolean;
};

const optional = (label: string) => <>{label} <i>- {t.optional}</i></>;

export function SettingsFields(props: Props) {
  return (
    <SpaceBetween size="l">
      <Part title={t.schedule}><Schedule {...props} /></Part>
      <Part title={t.operation}>
        <Role {...props} />
        <FormField label={optional(t.description)} errorText={props.errors.description}>
          <Textarea rows={2} value={props.form.description} onChange={({ detail }) => props.change({ description: detail.value })} />
        </FormField>
        <Retention {...props} />
        <Encryption {...props} />
        <Pause {...props} />
      </Part>
      <Part title={t.notifications}><Recipients {...props} /></Part>
      <Part title={t.limits}>
        <FormField label={optional(t.cap)} constraintText={t.capHint} errorText={props.errors.bandwidthCap}>
          <Input value={props.form.cap} onChange={({ detail }) => props.change({ cap: detail.value })} />
        </FormField>
      </Part>
    </SpaceBetween>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Container header={<Header variant="h2">{title}</Header>}>
      <SpaceBetween size="l">{children}</SpaceBetween>
    </Container>
  );
}

function Schedule({ form, change, errors, editing = false }: Props) {
  const units = [
    { value: 'hours', label: t.hours },
    { value: 'minutes', label: t.minutes },
  ];
  return (
    <>
      {editing ? null : (
        <FormField label={t.type}>
          <RadioGroup
            value={form.repeats ? 'repeat' : 'once'}
            onChange={({ detail }) => change({ repeats: detail.value === 'repeat' })}
            items={[
              { value: 'repeat', label: t.repeat, description: t.repeatHint },
              { value: 'once', label: t.once, description: t.onceHint },
            ]}
          />
        </FormField>
      )}
      {form.repeats ? (
        <FormField label={t.interval} constraintText={t.intervalHint(form.unit)} errorText={errors.frequency ?? errors.intervalMinutes}>
          <SpaceBetween direction="horizontal" size="xs">
            <Input type="number" inputMode="numeric" value={form.every} onChange={({ detail }) => change({ every: detail.value })} ariaLabel={t.interval} />
            <Select
              options={units}
              selectedOption={units.find((unit) => unit.value === form.unit) ?? null}
              onChange={({ detail }) => change({ unit: detail.selectedOption.value === 'minutes' ? 'minutes' : 'hours' })}
              ariaLabel={t.unit}
            />
          </SpaceBetween>
        </FormField>
      ) : null}
      <FormField label={editing ? t.nextStart : t.start}>
        <RadioGroup
          value={form.start}
          onChange={({ detail }) => change({ start: detail.value as JobForm['start'], ...(form.date === '' ? localParts(serverNow() + 3_600) : {}) })}
          items={
            editing
              ? [{ value: 'keep', label: t.nextKeep }, { value: 'later', label: t.nextMove }]
              : [{ value: 'now', label: t.now }, { value: 'later', label: t.later }]
          }
        />
      </FormField>
      {form.start === 'later' ? <StartTime form={form} change={change} errors={errors} /> : null}
    </>
  );
}

function StartTime({ form, change, errors }: Props) {
  const at = localSeconds(form.date, form.time) ?? serverNow();
  const day = (seconds: number) => localParts(seconds).date;
  return (
    <FormField constraintText={t.zone(zoneName(at))} errorText={errors.seedReplicationTime ?? errors.nextReplicationRunStartTime}>
      <SpaceBetween direction="horizontal" size="xs">
        <FormField label={t.date}>
          <DatePicker
            value={form.date}
            onChange={({ detail }) => change({ date: detail.value })}
            isDateEnabled={(date) => {
              const wanted = day(date.getTime() / 1000);
              return wanted >= day(serverNow()) && wanted <= day(serverNow() + LONGEST_LEAD);
            }}
            placeholder={t.dateForm}
            openCalendarAriaLabel={(selected) => (selected ? `${t.date}: ${selected}` : t.date)}
          />
        </FormField>
        <FormField label={t.time}>
          <TimeInput format="hh:mm" placeholder={t.timeForm} value={form.time} onChange={({ detail }) => change({ time: detail.value })} />
        </FormField>
      </SpaceBetween>
    </FormField>
  );
}

function Role({ form, change, errors }: Props) {
  const roles = useQuery(form.ownRole ? listOf('godwit:DescribeRoles', {}, (answer) => answer.roles, ['roles']) : undefined);
  const options = (roles.data ?? []).map((role) => ({ value: role.roleName, label: role.roleName, ...(role.description ? { description: role.description } : {}) }));
  return (
    <>
      <FormField label={t.role}>
        <RadioGroup
          value={form.ownRole ? 'own' : 'default'}
          onChange={({ detail }) => change({ ownRole: detail.value === 'own' })}
          items={[
            { value: 'default', label: t.roleDefault, description: t.roleDefaultHint },
            { value: 'own', label: t.roleOwn },
          ]}
        />
      </FormField>
      {form.ownRole ? (
        <FormField label={t.roleName} errorText={errors.roleName}>
          <Select
            options={options}
            statusType={roles.loading ? 'loading' : roles.error ? 'error' : 'finished'}
            errorText={roles.error?.message}
            selectedOption={form.roleName === '' ? null : { value: form.roleName, label: form.roleName }}
            onChange={({ detail }) => change({ roleName: detail.selectedOption.value ?? '' })}
            placeholder={t.rolePick}
          />
        </FormField>
      ) : errors.roleName ? <FormField errorText={errors.roleName} /> : null}
    </>
  );
}

function Retention({ form, change, errors }: Props) {
  return (
    <>
      <FormField label={t.keep}>
        <RadioGroup
          value={form.keepsNewest ? 'newest' : 'all'}
          onChange={({ detail }) => change({ keepsNewest: detail.value === 'newest' })}
          items={[{ value: 'all', label: t.keepAll }, { value: 'newest', label: t.keepNewest }]}
        />
      </FormField>
      {form.keepsNewest ? (
        <FormField label={t.keepNumber} constraintText={t.keepHint} errorText={errors.numberOfRecentAmisToKeep}>
          <Input type="number" inputMode="numeric" value={form.keep} onChange={({ detail }) => change({ keep: detail.value })} />
        </FormField>
      ) : null}
    </>
  );
}

function Encryption({ form, change, errors }: Props) {
  const keys = useQuery(form.encrypted ? answerOf('godwit:DescribeKeys', { maxResults: 1000 }, ['keys']) : undefined);
  const options = [
    { value: '', label: t.keyDefault },
    ...(keys.data?.keys ?? []).map((key) => {
      const id = key.aliases[0] ?? key.keyId;
      return { value: id, label: id, description: key.description, disabled: key.state === 'DISABLED', labelTag: key.default ? t.keyDefault : undefined };
    }),
  ];
  return (
    <>
      <FormField label={t.encryption} errorText={errors.encrypted}>
        <RadioGroup
          value={form.encrypted ? 'yes' : 'no'}
          onChange={({ detail }) => change({ encrypted: detail.value === 'yes' })}
          items={[
            { value: 'no', label: t.encryptedNo, description: t.encryptedNoHint },
            { value: 'yes', label: t.encryptedYes },
          ]}
        />
      </FormField>
      {form.encrypted ? (
        <FormField label={t.key} errorText={errors.kmsKeyId}>
          <Select
            options={options}
            statusType={keys.loading ? 'loading' : keys.error ? 'error' : 'finished'}
            errorText={keys.error?.message}
            selectedOption={options.find((option) => option.value === form.kmsKeyId) ?? { value: form.kmsKeyId, label: form.kmsKeyId }}
            onChange={({ detail }) => change({ kmsKeyId: detail.selectedOption.value ?? '' })}
          />
        </FormField>
      ) : null}
    </>
  );
}

function Pause({ form, change, errors }: Props) {
  return (
    <>
      <FormField label={t.failure} errorText={errors.pauseOnFailure}>
        <Toggle
          checked={form.repeats && form.pauses}
          disabled={!form.repeats}
          onChange={({ detail }) => change({ pauses: detail.checked })}
          description={form.repeats ? t.pauseHint : t.pauseOnce}
        >
          {t.pause}
        </Toggle>
      </FormField>
      {form.repeats && form.pauses ? (
        <FormField label={optional(t.pauseAfter)} constraintText={t.pauseAfterHint} errorText={errors.pauseAfterFailures}>
          <Input type="number" inputMode="numeric" value={form.pauseAfter} onChange={({ detail }) => change({ pauseAfter: detail.value })} />
        </FormField>
      ) : null}
    </>
  );
}
