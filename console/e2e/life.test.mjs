// What happens while a page is open: jobs pause, the service restarts.

import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { choose, PATIENCE, row, Scene, until, violations } from './scene.mjs';

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

  test('a run of the timeline is reached and opened by the keyboard alone', async () => {
    await page.goto(scene.at('/'));
    const timeline = page.getByRole('group', { name: /^Timeline of/ });
    const stops = timeline.locator('[tabindex="0"]');
    await stops.first().waitFor();
    assert.equal(await stops.count(), 1, 'one stop for the tab key');
    await stops.focus();
    const first = await stops.getAttribute('aria-label');
    await page.getByText(first, { exact: true }).last().waitFor();
    await page.keyboard.press('ArrowRight');
    const second = await stops.getAttribute('aria-label');
    assert.notEqual(second, first);
    const [, run] = /(sms-run-\w+)/.exec(second);
    await page.keyboard.press('Enter');
    await page.waitForURL(new RegExp(`run=${run}`));
    await page.getByRole('dialog').getByText(run).first().waitFor();
    await page.keyboard.press('Escape');
  });

  test('an import says which connectors gave no servers, and why', async () => {
    // A connector whose socket goes away, for as long as this takes.
    const socket = path.join(scene.sockets, 'qmp.sock');
    await page.goto(scene.at('/servers'));
    await row(page, 'web01').first().waitFor();
    await rename(socket, `${socket}.away`);
    try {
      await page.getByRole('button', { name: 'Re-import server catalog' }).first().click();
      await page.getByText('No connector answered: the catalog is as it was before').first().waitFor();
      await page.getByText(/there is no socket or folder/).first().waitFor();
      assert.deepEqual(await violations(page), [], 'the page with the warning');
    } finally {
      await rename(`${socket}.away`, socket);
    }
    await page.getByRole('button', { name: 'Re-import server catalog' }).first().click();
    await page.getByText(/The catalog is imported: 1 server/).first().waitFor();
    await page.getByText(/there is no socket or folder/).first().waitFor({ state: 'detached' });
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
