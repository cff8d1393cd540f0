// The lower pane: details of a job with its current run, and every run that it had.

import Box from '@cloudscape-design/components/box';
import SplitPanel from '@cloudscape-design/components/split-panel';
import Tabs from '@cloudscape-design/components/tabs';
import type { JobDescription, RunDescription } from '../../api/generated/shapes';
import { useParameter } from '../../routes/router';
import type { Result } from '../../state/query';
import { jobs as t } from '../../strings/jobs';
import { ForecastTab } from './Forecast';
import { JobDetails } from './JobDetails';
import { RunHistory } from './RunHistory';

export function JobPanel({ jobs, runs }: { jobs: readonly JobDescription[]; runs: Result<RunDescription[]> }) {
  const [tab, setTab] = useParameter('tab');
  const [job] = jobs.length === 1 ? jobs : [];
  return (
    <SplitPanel
      header={job ? `${job.serverName} – ${job.replicationJobId}` : t.panel.many(jobs.length)}
      closeBehavior="collapse"
      hidePreferencesButton
      i18nStrings={{ closeButtonAriaLabel: t.panel.close, openButtonAriaLabel: t.panel.open, resizeHandleAriaLabel: t.panel.resize }}
    >
      {job ? (
        <Tabs
          activeTabId={tab || 'details'}
          onChange={({ detail }) => setTab(detail.activeTabId === 'details' ? '' : detail.activeTabId)}
          tabs={[
            { id: 'details', label: t.panel.details, content: <JobDetails job={job} runs={runs} /> },
            { id: 'history', label: t.panel.history, content: <RunHistory job={job} runs={runs} /> },
            { id: 'forecast', label: t.run.forecast, content: <ForecastTab job={job} /> },
          ]}
        />
      ) : (
        <ul>{jobs.map((each) => <li key={each.replicationJobId}><Box variant="span">{each.serverName} ({each.replicationJobId})</Box></li>)}</ul>
      )}
    </SplitPanel>
  );
}
