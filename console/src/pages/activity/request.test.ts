import { expect, it } from 'vitest';
import { ALL, auditRequest } from './request';

it('the filter of the trail sends what was chosen', () => {
  expect(auditRequest({ ...ALL, since: 'all' }, 1_000)).toEqual({});
  expect(auditRequest({ since: 'hour', who: ' ann ', what: 'DeleteImage', outcome: 'FAILED' }, 7_230)).toEqual({
    since: 3_600, who: 'ann', what: 'DeleteImage', outcome: 'FAILED',
  });
});
