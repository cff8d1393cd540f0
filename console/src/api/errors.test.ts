import { describe, expect, it } from 'vitest';
import { ApiError, fieldErrors, memberOf, titleOf } from './errors';

const refused = (message: string, code = 'InvalidParameterException') => new ApiError(code, message, 400);
const members = ['frequency', 'intervalMinutes', 'recipients', 'kmsKeyId', 'licenseType', 'roleName'] as const;

describe('a refusal', () => {
  it('lands at the member that it names first', () => {
    expect(memberOf(refused('intervalMinutes is 0: give 1 to 43200 minutes'), members)).toBe('intervalMinutes');
    expect(memberOf(refused('recipients[3]: it is too long.'), members)).toBe('recipients');
    expect(memberOf(refused("roleName 'x': it does not allow godwit:UseKey; change kmsKeyId"), members)).toBe('roleName');
  });
  it('is not misled by parts of words', () => {
    expect(memberOf(refused('the frequencyOfThings is off'), members)).toBeUndefined();
  });
  it('is beside its field, or else for the whole form', () => {
    expect(fieldErrors(refused('recipients: no @'), members)).toEqual({ fields: { recipients: 'No @' }, general: undefined });
    const general = refused('s-1 is replicated by sms-job-1', 'ReplicationJobAlreadyExistsException');
    expect(fieldErrors(general, members)).toEqual({ fields: {}, general });
    expect(fieldErrors(undefined, members)).toEqual({ fields: {}, general: undefined });
  });
  it('of a licence is beside the licence', () => {
    const error = refused('Linux keeps its own', 'ServerCannotBeReplicatedException');
    expect(fieldErrors(error, members).fields).toEqual({ licenseType: 'Linux keeps its own' });
  });
  it('has a title in words', () => {
    expect(titleOf('ReplicationRunLimitExceededException')).toBe('Replication run limit exceeded');
  });
});
