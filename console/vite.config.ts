import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// The service whose console is looked at while developing: `GODWIT_ENDPOINT=http://127.0.0.1:8384 npm run dev`.
const service = process.env['GODWIT_ENDPOINT'] ?? 'http://127.0.0.1:8384';

export default defineConfig({
  base: '/console/',
  plugins: [react()],
  build: {
    outDir: 'dist',
    assetsDir: 'assets',
    // The content security policy allows no inline script: neither the polyfill nor small files as data.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    reportCompressedSize: false,
  },
  server: { proxy: { '^/(?!console/)': { target: service, changeOrigin: false } } },
});
