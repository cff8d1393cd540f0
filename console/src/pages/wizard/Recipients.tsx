// Who is told: one address at a time, looked at before it is in the list.

import Button from '@cloudscape-design/components/button';
import FormField from '@cloudscape-design/components/form-field';
import Input from '@cloudscape-design/components/input';
import SpaceBetween from '@cloudscape-design/components/space-between';
import TokenGroup from '@cloudscape-design/components/token-group';
import { useState } from 'react';
import { wizard as t } from '../../strings/wizard';
import { isRecipient, type JobForm, type Problems } from './form';

type Props = { form: JobForm; change: (changes: Partial<JobForm>) => void; errors: Problems };

export function Recipients({ form, change, errors }: Props) {
  const [typed, setTyped] = useState('');
  const [problem, setProblem] = useState<string>();
  const add = () => {
    const text = typed.trim();
    if (text === '') return;
    if (!isRecipient(text)) setProblem(t.errors.recipient);
    else if (form.recipients.includes(text)) setProblem(t.errors.recipientTwice);
    else {
      setProblem(undefined);
      setTyped('');
      change({ recipients: [...form.recipients, text] });
    }
  };
  return (
    <FormField
      label={<>{t.recipients} <i>- {t.optional}</i></>}
      description={t.recipientsHint}
      errorText={problem ?? errors.recipients}
      secondaryControl={<Button onClick={add} formAction="none">{t.addRecipient}</Button>}
    >
      <SpaceBetween size="xs">
        <Input
          value={typed}
          placeholder={t.recipientPlaceholder}
          onChange={({ detail }) => { setTyped(detail.value); setProblem(undefined); }}
          onKeyDown={(event) => {
            if (event.detail.key !== 'Enter') return;
            event.preventDefault();
            add();
          }}
          onBlur={add}
          spellcheck={false}
          ariaLabel={t.recipients}
        />
        <TokenGroup
          items={form.recipients.map((who) => ({ label: who, dismissLabel: t.removeRecipient(who) }))}
          onDismiss={({ detail }) => change({ recipients: form.recipients.filter((_, n) => n !== detail.itemIndex) })}
        />
      </SpaceBetween>
    </FormField>
  );
}
