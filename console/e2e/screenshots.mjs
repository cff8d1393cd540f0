// Takes the pictures of docs/console: every page in light and dark, of a real service with a real guest.

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ADDRESSES } from './addresses.mjs';
import { Scene, until } from './scene.mjs';

const FOLDER = process.env.GODWIT_SHOTS ?? fileURLToPath(new URL('../../docs/console', import.meta.url));
/** Milliseconds until charts have drawn and what is read has come. */
const SETTLE = 1_500;

const LOOKS = ['light', 'dark'];

const scene = await Scene.open();
try {
  await mkdir(FOLDER, { recursive: true });
  await furnish();
  const page = await scene.window({ viewport: { width: 1280, height: 860 } });
  await page.goto(scene.at('/'));
  for (const look of LOOKS) {
    await wear(page, look);
    await page.reload();
    await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
    await shot(page, `sign-in-${look}`);
  }
  await scene.signIn(page);
  for (const look of LOOKS) {
    await wear(page, look);
    for (const [name, address] of Object.entries(await ADDRESSES(scene))) {
      await page.goto(scene.at(address));
      await settled(page);
      await shot(page, `${name}-${look}`);
    }
    await page.goto(scene.at((await ADDRESSES(scene)).create));
    for (const name of ['create-settings', 'create-review']) {
      await page.getByRole('button', { name: 'Next', exact: true }).click();
      await settled(page);
      await shot(page, `${name}-${look}`);
    }
  }
  const phone = await scene.window({ viewport: { width: 390, height: 844 } });
  await scene.signIn(phone, '/jobs');
  await settled(phone);
  await shot(phone, 'phone');
} finally {
  await scene.close();
}

/** From the next load on the page is light or dark. */
function wear(page, look) {
  return page.evaluate((wanted) => localStorage.setItem('godwit.look', JSON.stringify(wanted)), look);
}

/** A picture of a page that is still loading shows nothing. */
async function settled(page) {
  await page.waitForTimeout(SETTLE);
  const loading = page.locator('[class*="awsui_spinner"]:visible').or(page.getByText(/^(Loading|Connecting)$/));
  await until('the page to be there', async () => (await loading.count()) === 0);
}

async function shot(page, name) {
  await page.screenshot({ path: path.join(FOLDER, `${name}.png`) });
  console.log(path.join(FOLDER, `${name}.png`));
}

/** A service that has something to show: a job with three runs, people, a key, a run that waits. */
async function furnish() {
  await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
  await scene.godwit('servers', 'import');
  await scene.godwit('keys', 'create', '--alias', 'alias/payroll', '--description', 'Servers of the payroll department');
  await scene.godwit('users', 'create', 'ann', '--policy', 'operator', '--credentials-file', path.join(scene.folder, 'ann'));
  await scene.godwit('users', 'create', 'monitor', '--policy', 'read-only', '--credentials-file', path.join(scene.folder, 'monitor'));
  await scene.godwit('jobs', 'create', '--server', 'web01', '--every', '12h', '--keep', '10', '--notify', 'ops@example.org', '--description', 'The shop');
  // Behind the image a run still cleans up, and no other one may begin.
  const completed = async () => (await scene.asked('runs', 'list')).filter((run) => run.state === 'COMPLETED').length;
  await until('the first image', async () => (await completed()) === 1);
  const [job] = await scene.asked('jobs', 'list');
  for (const wanted of [2, 3]) {
    await scene.godwit('runs', 'start', job.job_id);
    await until('the next image', async () => (await completed()) === wanted);
  }
  const [newest] = await scene.asked('images', 'list');
  await scene.godwit('images', 'verify', newest.image_id);
}
