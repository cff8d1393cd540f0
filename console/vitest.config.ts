import { defineConfig } from 'vitest/config';

// Times are shown in the zone of the browser: tests have one that is not UTC, so that a mix-up shows.
process.env['TZ'] = 'Europe/Berlin';

export default defineConfig({ test: { include: ['src/**/*.test.ts'], environment: 'node', testTimeout: 60_000 } });
