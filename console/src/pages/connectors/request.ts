// From the forms of connectors to requests, and what a test of a connection says. Pure.

import type { AssociateConnectorRequest, ConnectorDescription, TestConnectorResponse, UpdateConnectorRequest } from '../../api/generated/shapes';
import { connectors as t } from '../../strings/connectors';

export type ConnectorForm = { name: string; socket: string };
export type EditForm = ConnectorForm & { cap: string };

export const MEMBERS = ['name', 'socket'] as const;
export const EDIT_MEMBERS = ['name', 'socket', 'bandwidthCap'] as const;

/** How caps are written that are none. */
const NO_CAP = 'none';

/** What cannot be used that a test of a connection lists; the rest is counted. */
const MOST_WARNINGS = 5;

export function connectorProblems({ name, socket }: ConnectorForm): Partial<Record<(typeof MEMBERS)[number], string>> {
  const problem = socketProblem(socket);
  return { ...(name.trim() === '' ? { name: t.form.needed } : {}), ...(problem === undefined ? {} : { socket: problem }) };
}

/** Why nobody need be asked whether a socket answers. */
export function socketProblem(socket: string): string | undefined {
  if (socket.trim() === '') return t.form.needed;
  return socket.trim().startsWith('/') ? undefined : t.form.absolute;
}

export const associateRequest = ({ name, socket }: ConnectorForm): AssociateConnectorRequest => ({
  name: name.trim(),
  type: 'QMP',
  socket: socket.trim(),
});

export const editForm = (connector: ConnectorDescription): EditForm => ({
  name: connector.name,
  socket: connector.socket,
  cap: connector.bandwidthCap ?? NO_CAP,
});

/** Only what was changed: a socket that is sent is asked, and is refused while a run uses it. Nothing if nothing was. */
export function editRequest(connector: ConnectorDescription, form: EditForm): UpdateConnectorRequest | undefined {
  const was = editForm(connector);
  const is = { name: form.name.trim(), socket: form.socket.trim(), cap: form.cap.trim() || NO_CAP };
  const changes = {
    ...(is.name === was.name ? {} : { name: is.name }),
    ...(is.socket === was.socket ? {} : { socket: is.socket }),
    ...(is.cap === was.cap ? {} : { bandwidthCap: is.cap }),
  };
  return Object.keys(changes).length === 0 ? undefined : { connectorId: connector.connectorId, ...changes };
}

export type Verdict = { type: 'success' | 'warning'; header: string; lines: string[] };

/** What a test of a connection says: to whoever associates, or to whoever edits a connector. */
export function verdict(found: TestConnectorResponse, edited?: ConnectorDescription): Verdict {
  const shown = found.warnings.slice(0, MOST_WARNINGS);
  const left = found.warnings.length - shown.length;
  const lines = [t.test.servers(found.servers, found.serverNames), ...shown, ...(left > 0 ? [t.test.more(left)] : [])];
  const as = found.connectorName ?? found.connectorId;
  if (edited && edited.managerId !== found.managerId) {
    return { type: 'warning', header: t.test.another(found.managerName), lines: [t.test.stays(edited.managerName, as), ...lines] };
  }
  if (!edited && as !== undefined) return { type: 'warning', header: t.test.associated(as), lines };
  return { type: 'success', header: t.test.answers(found.managerName, found.managerVersion), lines };
}
