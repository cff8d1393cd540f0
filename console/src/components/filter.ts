// The filter of a table as text in the address: `State = PausedOnFailure and Server : web`. Pure.
//
// The text is what a person reads in the filter, so that an address can be written by hand and be read before it is
// opened. Values with blanks, quotes, or words that join are quoted.

export type Operator = '=' | '!=' | ':' | '!:' | '>' | '<' | '>=' | '<=' | '^' | '!^';

export type Token = { propertyKey?: string; operator: Operator; value: string };

export type FilterQuery = { operation: 'and' | 'or'; tokens: readonly Token[] };

/** A property by its key, and how people call it. */
export type Property = { key: string; propertyLabel: string };

export const NO_FILTER: FilterQuery = { operation: 'and', tokens: [] };

const OPERATORS: readonly Operator[] = ['!=', '!:', '!^', '>=', '<=', '=', ':', '^', '>', '<'];

export function filterToText(query: FilterQuery, properties: readonly Property[]): string {
  const label = (key: string) => properties.find((p) => p.key === key)?.propertyLabel ?? key;
  return query.tokens
    .map(({ propertyKey, operator, value }) => {
      if (propertyKey !== undefined) return `${quoted(label(propertyKey))} ${operator} ${quoted(value)}`;
      // Free text: `web` contains, anything else says how.
      return operator === ':' ? quoted(value) : `${operator} ${quoted(value)}`;
    })
    .join(` ${query.operation} `);
}

const PLAIN = /^[^\s"=!:^<>]+$/;

function quoted(text: string): string {
  return PLAIN.test(text) && !/^(and|or)$/i.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

type Piece = { text: string; isQuoted: boolean } | { operator: Operator };

function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let rest = text.trim();
  while (rest !== '') {
    const operator = OPERATORS.find((o) => rest.startsWith(o));
    const inQuotes = /^"((?:[^"\\]|\\.)*)"?/.exec(rest);
    const plain = /^[^\s"=!:^<>]+|^./.exec(rest);
    let taken = 1;
    if (operator) {
      found.push({ operator });
      taken = operator.length;
    } else if (inQuotes) {
      found.push({ text: (inQuotes[1] ?? '').replace(/\\(.)/g, '$1'), isQuoted: true });
      taken = inQuotes[0].length;
    } else if (plain) {
      found.push({ text: plain[0], isQuoted: false });
      taken = plain[0].length;
    }
    rest = rest.slice(taken).trimStart();
  }
  return found;
}

/** Reads a filter. What is not understood becomes free text: a filter that shows nothing is better than none. */
export function filterFromText(text: string, properties: readonly Property[]): FilterQuery {
  const all = pieces(text);
  const joins = (piece: Piece): 'and' | 'or' | undefined => {
    if ('operator' in piece || piece.isQuoted) return undefined;
    const word = piece.text.toLowerCase();
    return word === 'and' || word === 'or' ? word : undefined;
  };
  const parts: Piece[][] = [[]];
  let operation: 'and' | 'or' = 'and';
  for (const piece of all) {
    const join = joins(piece);
    if (join) {
      operation = join;
      parts.push([]);
    } else {
      parts.at(-1)?.push(piece);
    }
  }
  const tokens = parts.filter((part) => part.length > 0).map((part) => tokenOf(part, properties));
  return { operation, tokens };
}

const textOf = (part: readonly Piece[]) => part.map((p) => ('operator' in p ? p.operator : p.text)).join(' ');

function tokenOf(part: readonly Piece[], properties: readonly Property[]): Token {
  const at = part.findIndex((piece) => 'operator' in piece);
  const operatorPiece = part[at];
  if (!operatorPiece || !('operator' in operatorPiece)) return { operator: ':', value: textOf(part) };
  const name = textOf(part.slice(0, at)).toLowerCase();
  const value = textOf(part.slice(at + 1));
  const { operator } = operatorPiece;
  if (name === '') return { operator, value };
  const property = properties.find((p) => p.propertyLabel.toLowerCase() === name || p.key.toLowerCase() === name);
  return property ? { propertyKey: property.key, operator, value } : { operator: ':', value: textOf(part) };
}
