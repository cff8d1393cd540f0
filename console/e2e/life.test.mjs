// What happens while a page is open: jobs pause, the service restarts.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { choose, PATIENCE, row, Scene, until } from './scene.mjs';

describe('a page that stays open', { timeout: 900_000 }, () => {
  let scene;
  let page;
  before(async () => {
    scene = await Scene.open();
    await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
    await scene.godwit('servers', 'import');
    await scene.godwit('keys', 'create', '--alias', 'alias/payroll');
    page = await scene.window();
    await scene.signIn(page);
  });
  after(() => scene?.close());

  test('a job that paused on failure is found by the filter in the address, and resumed', async () => {
    await scene.godwit('jobs', 'create', '--server', 'web01', '--every', '1m', '--key', 'alias/payroll', '--pause-after', '1');
    await until('the first image', async () => (await scene.asked('images', 'list')).length > 0);
    await page.goto(scene.at('/jobs?filter=State+%3D+PausedOnFailure'));
    await page.getByText('No matches').first().waitFor();
    await scene.godwit('keys', 'disable', 'alias/payroll');
    // The next run falls due within a minute.
    await row(page, 'web01').getByText('PausedOnFailure').first().waitFor({ timeout: PATIENCE });
    await row(page, 'web01').first().click();
    await page.getByRole('checkbox', { name: /Select web01/ }).check({ force: true });
    await page.getByText('KeyDisabled').first().waitFor();

    await scene.godwit('keys', 'enable', 'alias/payroll');
    await choose(page, 'Resume replication job');
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: /^Now/ }).check({ force: true });
    await dialog.getByRole('button', { name: 'Resume', exact: true }).click();
    await page.getByText('1 job resumed.').waitFor();
    await until('an image behind the pause', async () => (await scene.asked('images', 'list')).length > 1);
    assert.deepEqual(page.problems, []);
  });

  test('a restart of the service is told, and the page is live again behind it', async () => {
    await page.goto(scene.at('/connectors'));
    await row(page, 'rack1').first().waitFor();
    await scene.stopService();
    const gone = page.getByText('The service cannot be reached.');
    await gone.waitFor();
    await scene.startService();
    await gone.waitFor({ state: 'detached' });
    const [connector] = await scene.asked('connectors', 'list');
    await scene.godwit('connectors', 'update', connector.connector_id, '--cap', '7MB/s');
    await row(page, '7MB/s').first().waitFor();
  });
});
