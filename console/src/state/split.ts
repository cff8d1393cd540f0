// The lower pane: a page puts something into it, the frame shows it.

import { createContext, type ReactNode, useContext, useEffect } from 'react';

export type Split = { panel: ReactNode };

type Setters = { setSplit: (split: Split | undefined) => void; setOpen: (open: boolean) => void };

export const SplitContext = createContext<Setters>({ setSplit: () => {}, setOpen: () => {} });

/** Shows a panel as long as the page is shown; it opens whenever `openFor` becomes another one. */
export function useSplit(panel: ReactNode, openFor: string): void {
  const { setSplit, setOpen } = useContext(SplitContext);
  useEffect(() => setSplit(panel ? { panel } : undefined), [panel, setSplit]);
  useEffect(() => setOpen(openFor !== ''), [openFor, setOpen]);
  useEffect(() => () => setSplit(undefined), [setSplit]);
}
