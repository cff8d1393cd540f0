// The catalog, whole.

import { call } from '../../api/client';
import type { CatalogImport, ServerCatalogStatus, ServerDescription } from '../../api/generated/shapes';
import type { Query } from '../../state/cache';

export type Catalog = {
  status: ServerCatalogStatus;
  changedOn: number;
  /** The import that is at work, or else the last one. */
  lastImport: CatalogImport | undefined;
  servers: ServerDescription[];
};

export const serversQuery: Query<Catalog> = {
  key: 'servers',
  kinds: ['servers', 'catalog', 'jobs'],
  read: async (background) => {
    const servers: ServerDescription[] = [];
    let nextToken: string | undefined;
    for (;;) {
      const answer = await call('godwit:DescribeServers', { maxResults: 1000, nextToken }, { background });
      servers.push(...answer.servers);
      nextToken = answer.nextToken;
      if (!nextToken) return { status: answer.serverCatalogStatus, changedOn: answer.lastModifiedOn, lastImport: answer.catalogImport, servers };
    }
  },
};
