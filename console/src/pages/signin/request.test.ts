import { expect, it } from 'vitest';
import { linkToken, passwordProblems, signInRequest } from './request';

it('a sign-in sends what was typed, and nothing while something is missing', () => {
  expect(signInRequest({ by: 'password', name: ' ann ', secret: ' pass word ' })).toEqual({ userName: 'ann', password: ' pass word ' });
  expect(signInRequest({ by: 'accessKey', name: 'GW1', secret: ' s ' })).toEqual({ accessKeyId: 'GW1', secretAccessKey: 's' });
  expect(signInRequest({ by: 'password', name: '', secret: 'x' })).toBeUndefined();
  expect(signInRequest({ by: 'accessKey', name: 'GW1', secret: ' ' })).toBeUndefined();
});

it('a link has its token behind #link=', () => {
  expect(linkToken('#link=abc-DEF_1')).toBe('abc-DEF_1');
  expect([linkToken(''), linkToken('#other=1'), linkToken('#link=<b>')]).toEqual([undefined, undefined, undefined]);
});

it('a new password is long enough and typed twice', () => {
  const texts = { tooShort: 'short', differs: 'differs' };
  expect(passwordProblems({ newPassword: 'x'.repeat(11), repeat: '' }, texts)).toEqual({ newPassword: 'short' });
  expect(passwordProblems({ newPassword: 'x'.repeat(12), repeat: 'y' }, texts)).toEqual({ repeat: 'differs' });
  expect(passwordProblems({ newPassword: 'x'.repeat(12), repeat: 'x'.repeat(12) }, texts)).toEqual({});
});
