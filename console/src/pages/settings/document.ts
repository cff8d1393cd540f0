// Documents of policies and roles as text. Pure. Whether one is a policy, the service says.

/** What keeps a text from being JSON; nothing if it is. */
export function documentProblem(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

/** With line breaks, if it has none and is JSON. */
export function pretty(text: string): string {
  if (text.includes('\n')) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
