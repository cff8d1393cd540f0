// Which page an address shows. Heavy pages are loaded when they are first looked at.

import { lazy, type ReactNode } from 'react';
import { ConnectorsPage } from '../pages/connectors/ConnectorsPage';
import { JobsPage } from '../pages/jobs/JobsPage';
import { ServersPage } from '../pages/servers/ServersPage';
import { common } from '../strings/common';

const OverviewPage = lazy(() => import('../pages/overview/OverviewPage'));
const CreateJobPage = lazy(() => import('../pages/wizard/CreateJobPage'));
const ImagesPage = lazy(() => import('../pages/images/ImagesPage'));
const ComparePage = lazy(() => import('../pages/images/ComparePage'));
const ActivityPage = lazy(() => import('../pages/activity/ActivityPage'));
const SettingsPage = lazy(() => import('../pages/settings/SettingsPage'));

type Page = {
  path: string;
  title: string;
  /** What the menu marks; the page itself if absent. */
  under?: string;
  content: 'default' | 'table' | 'form' | 'dashboard';
  page: () => ReactNode;
};

export const PAGES: readonly Page[] = [
  { path: '/', title: common.pages.overview, content: 'dashboard', page: () => <OverviewPage /> },
  { path: '/connectors', title: common.pages.connectors, content: 'table', page: () => <ConnectorsPage /> },
  { path: '/servers', title: common.pages.servers, content: 'table', page: () => <ServersPage /> },
  { path: '/jobs', title: common.pages.jobs, content: 'table', page: () => <JobsPage /> },
  { path: '/jobs/create', title: common.pages.createJob, under: '/jobs', content: 'form', page: () => <CreateJobPage /> },
  { path: '/images', title: common.pages.images, content: 'table', page: () => <ImagesPage /> },
  { path: '/images/compare', title: common.pages.compare, under: '/images', content: 'default', page: () => <ComparePage /> },
  { path: '/activity', title: common.pages.activity, content: 'default', page: () => <ActivityPage /> },
  { path: '/settings', title: common.pages.settings, content: 'default', page: () => <SettingsPage /> },
];

export const pageOf = (path: string) => PAGES.find((page) => page.path === (path.replace(/\/+$/, '') || '/'));
