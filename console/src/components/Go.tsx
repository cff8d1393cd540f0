// A link within the console.

import Link from '@cloudscape-design/components/link';
import type { ReactNode } from 'react';
import { follow, href } from '../routes/router';

export function Go({ to, children, variant = 'secondary' }: { to: string; children: ReactNode; variant?: 'primary' | 'secondary' }) {
  return <Link href={href(to)} onFollow={follow} variant={variant}>{children}</Link>;
}
