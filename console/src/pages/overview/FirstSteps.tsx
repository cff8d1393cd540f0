// A fresh installation leads by the hand, from no connectors to the first image.

import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import ColumnLayout from '@cloudscape-design/components/column-layout';
import Container from '@cloudscape-design/components/container';
import Header from '@cloudscape-design/components/header';
import SpaceBetween from '@cloudscape-design/components/space-between';
import { Status } from '../../components/Status';
import { navigate } from '../../routes/router';
import { overview } from '../../strings/overview';

const t = overview.first;

export function FirstSteps({ connectors, servers, jobs }: { connectors: number; servers: number; jobs: number }) {
  const steps = [
    { title: t.connector, hint: t.connectorHint, done: connectors > 0, to: '/connectors' },
    { title: t.catalog, hint: t.catalogHint, done: servers > 0, to: '/servers' },
    { title: t.job, hint: t.jobHint, done: jobs > 0, to: '/servers' },
    { title: t.image, hint: t.imageHint, done: false, to: '/jobs' },
  ];
  const next = steps.findIndex((step) => !step.done);
  return (
    <Container header={<Header variant="h2">{t.title}</Header>}>
      <ColumnLayout columns={4} variant="text-grid">
        {steps.map((step, n) => (
          <SpaceBetween size="xs" key={step.title}>
            <Status tone={step.done ? 'success' : n === next ? 'in-progress' : 'pending'}>{step.done ? t.done : n === next ? t.next : t.later}</Status>
            <Box variant="h3">{n + 1}. {step.title}</Box>
            <Box color="text-body-secondary">{step.hint}</Box>
            {n === next ? <Button variant="primary" onClick={() => navigate(step.to)} ariaLabel={`${t.go}: ${step.title}`}>{t.go}</Button> : null}
          </SpaceBetween>
        ))}
      </ColumnLayout>
    </Container>
  );
}
