import { describe, expect, it } from 'vitest';
import { type FilterQuery, filterFromText, filterToText } from './filter';

const properties = [
  { key: 'state', propertyLabel: 'State' },
  { key: 'server', propertyLabel: 'Server' },
  { key: 'nextRun', propertyLabel: 'Next run' },
];

describe('a filter in the address', () => {
  it('reads as people write it', () => {
    expect(filterFromText('State = PausedOnFailure', properties)).toEqual({
      operation: 'and',
      tokens: [{ propertyKey: 'state', operator: '=', value: 'PausedOnFailure' }],
    });
    expect(filterFromText('state=PausedOnFailure and server:web', properties).tokens).toEqual([
      { propertyKey: 'state', operator: '=', value: 'PausedOnFailure' },
      { propertyKey: 'server', operator: ':', value: 'web' },
    ]);
    expect(filterFromText('"Next run" != never or web', properties)).toEqual({
      operation: 'or',
      tokens: [{ propertyKey: 'nextRun', operator: '!=', value: 'never' }, { operator: ':', value: 'web' }],
    });
  });

  it('is nothing when it is empty', () => {
    expect(filterFromText('', properties)).toEqual({ operation: 'and', tokens: [] });
    expect(filterToText({ operation: 'and', tokens: [] }, properties)).toBe('');
  });

  it('looks for the words of what it does not know', () => {
    expect(filterFromText('Colour = blue', properties).tokens).toEqual([{ operator: ':', value: 'Colour = blue' }]);
    expect(filterFromText('State =', properties).tokens).toEqual([{ propertyKey: 'state', operator: '=', value: '' }]);
  });

  it('comes back as it was, whatever its values hold', () => {
    const values = ['web', 'a b', 'say "x"', 'and', 'OR', 'a=b', 'back\\slash', '', '!', 'é 漢', "it's", '"', 'x:y>z'];
    const operators = ['=', '!=', ':', '!:', '>', '<', '>=', '<=', '^', '!^'] as const;
    for (const operation of ['and', 'or'] as const) {
      for (const value of values) {
        for (const operator of operators) {
          const query: FilterQuery = {
            operation,
            tokens: [
              { propertyKey: 'server', operator, value },
              { operator: ':', value: 'free' },
              { propertyKey: 'nextRun', operator: '=', value },
            ],
          };
          expect(filterFromText(filterToText(query, properties), properties)).toEqual(query);
        }
      }
    }
  });
});
