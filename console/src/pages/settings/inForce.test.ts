import { describe, expect, it } from 'vitest';
import type { SettingDescription } from '../../api/generated/shapes';
import { countOf, nameIn, sectionsOf } from './inForce';

function setting(name: string, fields: Partial<SettingDescription> = {}): SettingDescription {
  return { name, isDefault: true, isHidden: false, setIn: 'DEFAULT', description: `What ${name} is.`, ...fields };
}

const ALL = [
  setting('audit.keep', { value: '30d', default: '365d', isDefault: false, setIn: 'FILE' }),
  setting('audit.max_records', { value: '10000000', default: '10000000' }),
  setting('store.url'),
  setting('store.s3.region', { value: 'us-east-1', default: 'us-east-1' }),
  setting('--listen', { value: '0.0.0.0:8384', default: '127.0.0.1:8384', isDefault: false, setIn: 'COMMAND_LINE' }),
];

const shown = (text: string, changed = false) => sectionsOf(ALL, text, changed).map(({ id, settings }) => [id, settings.map(nameIn)]);

describe('settings in force', () => {
  it('stand in their sections, those of the command line in none', () => {
    expect(shown('')).toEqual([['audit', ['keep', 'max_records']], ['store', ['url']], ['store.s3', ['region']], ['', ['--listen']]]);
    expect(countOf(sectionsOf(ALL, '', false))).toBe(ALL.length);
  });
  it('are found by name, value and what they are, by all words', () => {
    expect(shown('S3')).toEqual([['store.s3', ['region']]]);
    expect(shown('0.0.0.0')).toEqual([['', ['--listen']]]);
    expect(shown('  what  keep')).toEqual([['audit', ['keep']]]);
    expect(shown('nothing of it')).toEqual([]);
  });
  it('can be those only that differ from their defaults', () => {
    expect(shown('', true)).toEqual([['audit', ['keep']], ['', ['--listen']]]);
    expect(shown('listen', true)).toEqual([['', ['--listen']]]);
  });
});
