// What the next runs of a job will read, store and take.

import Box from '@cloudscape-design/components/box';
import Table from '@cloudscape-design/components/table';
import type { ForecastDescription, JobDescription } from '../../api/generated/shapes';
import { ErrorBox } from '../../components/ErrorBox';
import { bytes, duration } from '../../components/format';
import { When } from '../../components/When';
import { answerOf, useQuery } from '../../state/query';
import { common } from '../../strings/common';
import { jobs } from '../../strings/jobs';

const t = jobs.forecast;

type Range = { low: number; likely: number; high: number };

function Likely({ range, show }: { range: Range | undefined; show: (n: number) => string }) {
  if (!range) return <>{t.unknown}</>;
  return <>{show(range.likely)} <Box variant="small">{t.range(show(range.low), show(range.high))}</Box></>;
}

export function ForecastTab({ job }: { job: JobDescription }) {
  const forecast = useQuery(answerOf('godwit:GetForecast', { replicationJobId: job.replicationJobId }, ['runs', 'jobs']));
  const rows: { what: string; forecast: ForecastDescription | undefined }[] = [
    { what: t.firstCopy, forecast: forecast.data?.firstCopy },
    { what: t.nextRun, forecast: forecast.data?.nextRun },
    { what: t.cutOver, forecast: forecast.data?.cutOver },
  ];
  const known = rows.flatMap(({ what, forecast: each }) => (each ? [{ what, ...each }] : []));
  if (forecast.error && !forecast.data) return <ErrorBox error={forecast.error} what={t.title} again={forecast.again} />;
  return (
    <Table
      variant="embedded"
      items={known}
      trackBy="what"
      loading={forecast.loading}
      loadingText={common.loading}
      wrapLines
      ariaLabels={{ tableLabel: t.title }}
      empty={t.none}
      columnDefinitions={[
        { id: 'what', header: t.what, cell: (row) => <>{row.what} {row.dueOn ? <Box variant="small"><When time={row.dueOn} /></Box> : null}</>, isRowHeader: true },
        { id: 'reads', header: t.reads, cell: (row) => <Likely range={row.bytesRead} show={bytes} /> },
        { id: 'stores', header: t.stores, cell: (row) => <Likely range={row.bytesStored} show={bytes} /> },
        { id: 'takes', header: t.takes, cell: (row) => <Likely range={row.seconds} show={duration} /> },
        { id: 'basis', header: t.basis, cell: (row) => row.basis },
      ]}
    />
  );
}
