import { listOf } from '../../state/query';

/** All connectors. */
export const connectorsQuery = listOf('godwit:DescribeConnectors', {}, (answer) => answer.connectors, ['connectors']);
