// The map: one square for each piece of the disk, from left to right and from top to bottom.

import { useEffect, useRef } from 'react';
import type { Kind } from './diff';

export const COLUMNS = 64;

/** Told apart by lightness too, on light and on dark ground. */
export const COLOURS: Record<Kind, string> = {
  changed: '#e8590c',
  added: '#1098ad',
  removed: '#ae3ec9',
  unknown: '#f2c94c',
  same: '#5c7cba',
  empty: '#8793a540',
};

const CELL = 12;
const GAP = 2;

export function DiskMapView({ cells, version, label }: { cells: readonly Kind[]; version: number; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const rows = Math.max(1, Math.ceil(cells.length / COLUMNS));
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    context.clearRect(0, 0, COLUMNS * CELL, rows * CELL);
    cells.forEach((kind, n) => {
      context.fillStyle = COLOURS[kind];
      context.fillRect((n % COLUMNS) * CELL, Math.floor(n / COLUMNS) * CELL, CELL - GAP, CELL - GAP);
    });
  }, [cells, version, rows]);
  return <canvas ref={canvas} className="gw-map" width={COLUMNS * CELL} height={rows * CELL} role="img" aria-label={label} />;
}
