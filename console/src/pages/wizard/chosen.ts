// Which servers a job is to be created for. A few are in the address, so that it can be handed on; thousands do not fit.

import { navigate } from '../../routes/router';

const KEY = 'godwit.chosen';
const FEW = 40;

export function createJobFor(serverIds: readonly string[]): void {
  if (serverIds.length <= FEW) {
    navigate(`/jobs/create?servers=${serverIds.join(',')}`);
    return;
  }
  sessionStorage.setItem(KEY, JSON.stringify(serverIds));
  navigate('/jobs/create?servers=chosen');
}

export function chosenServers(): string[] {
  const text = new URLSearchParams(window.location.search).get('servers') ?? '';
  if (text !== 'chosen') return text.split(',').filter((id) => id !== '');
  try {
    const ids: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
    return Array.isArray(ids) ? ids.filter((id): id is string => typeof id === 'string') : [];
  } catch {
    return [];
  }
}
