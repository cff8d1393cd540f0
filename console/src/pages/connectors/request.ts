// From the form of a new connector to the request. Pure.

import type { AssociateConnectorRequest } from '../../api/generated/shapes';
import { connectors as t } from '../../strings/connectors';

export type ConnectorForm = { name: string; socket: string };

export const MEMBERS = ['name', 'socket'] as const;

export function connectorProblems({ name, socket }: ConnectorForm): Partial<Record<(typeof MEMBERS)[number], string>> {
  const found: Partial<Record<(typeof MEMBERS)[number], string>> = {};
  if (name.trim() === '') found.name = t.form.needed;
  if (socket.trim() === '') found.socket = t.form.needed;
  else if (!socket.trim().startsWith('/')) found.socket = t.form.absolute;
  return found;
}

export const associateRequest = ({ name, socket }: ConnectorForm): AssociateConnectorRequest => ({
  name: name.trim(),
  type: 'QMP',
  socket: socket.trim(),
});
