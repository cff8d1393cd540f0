// What the sources keep to, so that nobody has to look for it.

import { expect, it } from 'vitest';

const sources: Record<string, string> = import.meta.glob('./**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
const written = Object.entries(sources).filter(([path]) => !path.endsWith('.test.ts'));

/** Comments are empty then; texts too, if they are not wanted. */
function code(text: string, texts: boolean): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, (found) => {
    if (found.startsWith('/')) return '';
    return texts ? found : "''";
  });
}

/** Where a type is no type, or where the compiler is told to look away. */
function untyped(text: string): string[] {
  const asides = text.match(/@ts-(ignore|expect-error|nocheck)/g) ?? [];
  return [...(code(text, false).match(/(?:[:<|&,([=>]|\bas|\bextends|\bis)\s*any(?![\w:])/g) ?? []), ...asides];
}

/** Texts for people: a capital, a word, and another word behind it; and what stands in the attributes that show text. */
function sentences(text: string): string[] {
  const rest = code(text, true);
  return [
    ...(rest.match(/(['"`])[A-Z][a-z]+ [A-Za-z][^'"`\n]*\1/g) ?? []),
    ...(rest.match(/>\s*[A-Z][a-z]+ [a-z][^<>{}=]*</g) ?? []),
    ...(rest.match(/\s(placeholder|label|title|description|header|ariaLabel|additionalInfo|loadingText|alt)="[^"]+"/g) ?? []),
  ];
}

const foundBy = (look: (text: string) => string[], files: [string, string][]) =>
  files.flatMap(([path, text]) => look(text).map((found) => `${path}: ${found}`));

it('every file is looked at', () => {
  expect(written.length).toBeGreaterThan(80);
  expect(written.map(([path]) => path)).toContain('./pages/jobs/JobsPage.tsx');
});

it('what is looked for is found, and nothing else', () => {
  const bad = ['let a: any;', 'x as any', 'Record<string, any>', 'a: any[]', 'f(a: string | any)', 'type A = any', 'f<any>()', 'T extends any', '() => any', '// @ts-ignore', '// @ts-expect-error'];
  expect(bad.filter((text) => untyped(text).length === 0)).toEqual([]);
  const good = ['AbortSignal.any([a])', "{ any: 'Any' }", "'any' | 'OK'", '// not any more', '`not any more`', 'here is { any: 1 }', '/* any */ x', 'company'];
  expect(good.flatMap(untyped)).toEqual([]);
  const said = ["tell('The catalog is imported')", '<b>Not now</b>', '<Input placeholder="hh:mm" />', '`Failed in ${n} s`'];
  expect(said.filter((text) => sentences(text).length === 0)).toEqual([]);
  const unsaid = ["'/jobs?filter=State'", '// The catalog is imported', 'useState<string>(a).then<Box>', '`Image = ${id}`', "'Content-Type'"];
  expect(unsaid.flatMap(sentences)).toEqual([]);
});

it('no type is any, and the compiler looks everywhere', () => {
  expect(foundBy(untyped, written)).toEqual([]);
});

it('texts for people are in the folder of strings, ready for translation', () => {
  expect(foundBy(sentences, written.filter(([path]) => !/^\.\/(strings|api\/generated)\//.test(path)))).toEqual([]);
});
