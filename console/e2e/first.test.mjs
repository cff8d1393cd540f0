// From the first sign-in to the first image, and what can be done with it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { choose, row, Scene, signedIn, until, violations, whyNot } from './scene.mjs';

const run = promisify(execFile);

/** What pages say on which there is nothing yet. */
const EMPTY = {
  '/': 'From nothing to the first image',
  '/servers': 'The catalog is empty',
  '/jobs': 'No replication jobs',
  '/images': 'No images',
  '/activity': 'No notifications',
};

describe('from nothing to an image', { timeout: 900_000 }, () => {
  let scene;
  let page;
  before(async () => {
    scene = await Scene.open();
    page = await scene.window();
  });
  after(() => scene?.close());

  test('the link that the first start prints signs in once, and is nowhere afterwards', async () => {
    assert.ok(scene.link, `no link in: ${scene.output}`);
    await page.goto(scene.link);
    await signedIn(page);
    assert.ok(!page.url().includes('link='), page.url());
    const other = await scene.window();
    await other.goto(scene.link);
    await other.getByText('The sign-in link is not valid any more').waitFor();
    await other.context().close();
  });

  test('a fresh installation has pages that say what to do, and leads to the first connector', async () => {
    for (const [address, says] of Object.entries(EMPTY)) {
      await page.goto(scene.at(address));
      await page.getByText(says, { exact: true }).first().waitFor();
      assert.deepEqual(await violations(page), [], `${address} with nothing on it`);
    }
    await page.goto(scene.at('/'));
    await page.getByRole('heading', { name: 'From nothing to the first image' }).waitFor();
    await page.getByRole('button', { name: 'Go: Associate a connector' }).click();
    await page.getByText('No connectors').waitFor();
  });

  test('a connector that does not answer is told, one that does is associated and imported', async () => {
    await page.getByRole('button', { name: 'Associate connector' }).first().click();
    const form = page.getByRole('dialog');
    await form.getByLabel('Name').fill('rack1');
    const socket = form.getByLabel('Socket or folder of sockets');
    const test = form.getByRole('button', { name: 'Test connection' });
    await socket.fill('/nowhere/qmp.sock');
    await test.click();
    const failure = form.getByText(/socket '\/nowhere\/qmp\.sock': there is no socket/).first();
    await failure.waitFor();
    assert.deepEqual(await scene.asked('connectors', 'list'), []);
    await form.getByRole('button', { name: 'Test and associate' }).click();
    await failure.waitFor();
    // Another path: what was said of the first one is gone, and so is what is found here once it changes again.
    await socket.fill(path.join(scene.sockets, 'qmp.sock'));
    await failure.waitFor({ state: 'detached' });
    await test.click();
    await form.getByText('1 server: web01.').waitFor();
    assert.deepEqual(await violations(page), [], 'the dialog with what was found');
    assert.deepEqual(await scene.asked('connectors', 'list'), [], 'the dialog is open and nothing is associated');
    await form.getByRole('button', { name: 'Test and associate' }).click();
    await row(page, 'web01').first().waitFor();
    assert.match(page.url(), /\/console\/servers/);
  });

  test('from the overview, each step that is next leads to where it is done', async () => {
    await scene.godwit('servers', 'clear');
    await page.goto(scene.at('/'));
    await page.getByRole('button', { name: 'Go: Import the server catalog' }).click();
    await page.getByRole('button', { name: /import server catalog/i }).first().click();
    await row(page, 'web01').first().waitFor();
    await page.goto(scene.at('/'));
    await page.getByRole('button', { name: 'Go: Create a replication job' }).click();
    await row(page, 'web01').first().waitFor();
    assert.match(page.url(), /\/console\/servers/);
  });

  test('a connector is renamed, and another VM manager is none for it', async () => {
    await page.goto(scene.at('/connectors'));
    await page.getByRole('checkbox', { name: 'Select rack1' }).check({ force: true });
    await choose(page, 'Edit connector');
    const dialog = page.getByRole('dialog');
    const socket = dialog.getByLabel('Socket or folder of sockets');
    const was = await socket.inputValue();
    await socket.fill(scene.folder);
    await dialog.getByRole('button', { name: 'Test connection' }).click();
    await dialog.getByText(/Another VM manager answers there/).waitFor();
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText(/leads to another VM manager/).first().waitFor();
    await socket.fill(was);
    await dialog.getByLabel('Name').fill('first rack');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await row(page, 'first rack').first().waitFor();
    const [connector] = await scene.asked('connectors', 'list');
    assert.deepEqual([connector.name, connector.socket], ['first rack', was]);
    await scene.godwit('connectors', 'update', 'first rack', '--name', 'rack1');
    await row(page, 'rack1').first().waitFor();
    await page.goto(scene.at('/servers'));
    await row(page, 'web01').first().waitFor();
  });

  test('a job is created in three pages, with refusals beside their fields', async () => {
    await page.getByRole('checkbox', { name: 'Select web01' }).check({ force: true });
    await page.getByRole('button', { name: 'Create replication job' }).click();
    await page.getByRole('heading', { name: 'Configure server-specific settings' }).first().waitFor();
    await page.getByLabel('Licence type of web01').click();
    const aws = page.getByRole('option', { name: /^AWS/ });
    assert.equal(await aws.getAttribute('aria-disabled'), 'true', 'Linux keeps its own licence');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Next' }).click();

    await page.getByLabel('Interval', { exact: true }).first().fill('99');
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('Give a whole number from 1 to 24.').waitFor();
    assert.deepEqual(await violations(page), [], 'the second page, with a refusal');
    await page.getByLabel('Interval', { exact: true }).first().fill('12');
    await page.getByLabel('Recipients').first().fill('nobody');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('This is neither an e-mail address nor a web address').waitFor();
    await page.getByLabel('Recipients').first().fill('ops@example.org');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    // Only the service knows what a cap is: its refusal comes back to the field.
    const cap = page.getByLabel(/^Bandwidth cap/);
    await cap.fill('fast');
    assert.equal(await cap.getAttribute('aria-invalid'), null, 'nobody has refused it yet');
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByRole('button', { name: 'Create job' }).click();
    await page.getByText(/1 of 1 jobs were not created/).waitFor();
    assert.equal(await cap.getAttribute('aria-invalid'), 'true');
    const refusal = await described(cap);
    assert.match(refusal, /'fast'/);
    assert.doesNotMatch(refusal, /bandwidthCap/, 'beside its field it needs no name');
    // Slow, so that the first run is at work for a while.
    await cap.fill('1MB/s');
    assert.equal(await cap.getAttribute('aria-invalid'), null);
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('ops@example.org').waitFor();
    await page.getByText('1MB/s').waitFor();
    assert.deepEqual(await violations(page), [], 'the third page');
    await page.getByRole('button', { name: 'Create job' }).click();
    await page.waitForURL(/\/console\/jobs\?job=sms-job-/);
  });

  test('its first run is followed from the overview to its image, without a reload', async () => {
    await page.goto(scene.at('/'));
    await page.getByRole('button', { name: 'Go: The first image' }).click();
    await row(page, 'web01').getByText('Active', { exact: true }).first().waitFor();
    const [job] = await scene.asked('jobs', 'list');
    await scene.godwit('jobs', 'update', job.job_id, '--cap', 'none');
    await row(page, 'web01').getByText('Completed').first().waitFor();
    await page.getByRole('checkbox', { name: /Select web01/ }).check({ force: true });
    await page.getByRole('tab', { name: 'Run history' }).click();
    await row(page, 'sms-run-').filter({ hasText: 'Completed' }).first().waitFor();
    assert.deepEqual(page.problems, []);
  });

  test('a run on demand is started once more, and what cannot be is said', async () => {
    assert.match(await whyNot(page, 'Resume replication job'), /only a job that is paused can be resumed/);
    await choose(page, 'Start replication run');
    await page.getByRole('dialog').getByRole('button', { name: 'Start', exact: true }).click();
    await until('a second image', async () => (await scene.asked('images', 'list')).length === 2);
  });

  test('an image is verified', async () => {
    await page.goto(scene.at('/images'));
    const [newest] = await scene.asked('images', 'list');
    await page.getByRole('checkbox', { name: `Select ${newest.image_id}` }).check({ force: true });
    await choose(page, 'Verify');
    await row(page, newest.image_id).getByText('Verified').first().waitFor();
  });

  test('an image is exported, and the file is the volume', async () => {
    const [newest] = await scene.asked('images', 'list');
    for (const format of ['qcow2', 'raw']) {
      // A browser that asks nobody where: what it wrote is saved as a download.
      await page.addInitScript(() => delete window.showSaveFilePicker);
      await page.goto(scene.at(`/images?image=${newest.image_id}`));
      await choose(page, 'Export');
      const dialog = page.getByRole('dialog');
      await dialog.getByRole('radio', { name: format }).check({ force: true });
      if (format === 'raw') assert.deepEqual(await violations(page), [], 'the dialog of the export');
      const [download] = await Promise.all([page.waitForEvent('download'), dialog.getByRole('button', { name: 'Export', exact: true }).click()]);
      const exported = path.join(scene.folder, `console.${format}`);
      await download.saveAs(exported);
      const wanted = path.join(scene.folder, `cli-${format}.raw`);
      await scene.godwit('images', 'export', newest.image_id, '--output', wanted);
      const { stdout } = await run('qemu-img', ['compare', '-f', format, '-F', 'raw', exported, wanted]);
      assert.match(stdout, /Images are identical/);
      if (format === 'qcow2') await run('qemu-img', ['check', '-f', 'qcow2', exported]);
    }
  });

  test('two images are compared, as a map of the disk', async () => {
    const [newer, older] = await scene.asked('images', 'list');
    await page.goto(scene.at(`/images?image=${newer.image_id},${older.image_id}`));
    await choose(page, 'Compare');
    await page.getByRole('rowheader', { name: 'The same' }).waitFor();
    assert.ok(await page.getByRole('rowheader', { name: 'Changed' }).count(), 'the guest wrote between the two');
    // Of one key the service knows: nothing is left to be read.
    assert.equal(await page.getByText('Not compared yet').count(), 0);
    const compared = await scene.asked('images', 'compare', older.image_id, newer.image_id);
    assert.ok(compared.volumes[0].bytes_changed > 0, 'the command line says the same');
  });

  test('an image is deleted, after its name was asked for', async () => {
    const [, older] = await scene.asked('images', 'list');
    await page.goto(scene.at(`/images?image=${older.image_id}`));
    await choose(page, 'Delete');
    const dialog = page.getByRole('dialog');
    assert.ok(await dialog.getByRole('button', { name: 'Delete', exact: true }).isDisabled());
    assert.deepEqual(await violations(page), [], 'the dialog that asks for the name');
    await dialog.getByRole('textbox').fill('delete');
    await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
    await until('the image to go', async () => (await scene.asked('images', 'list')).length === 1);
    assert.deepEqual(page.problems, []);
  });

  test('the job is edited and deleted', async () => {
    const [job] = await scene.asked('jobs', 'list');
    await page.goto(scene.at(`/jobs?job=${job.job_id}`));
    await choose(page, 'Edit replication job');
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(/^Description/).fill('nightly');
    assert.deepEqual(await violations(page), [], 'the dialog of the job');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await until('the change', async () => (await scene.asked('jobs', 'show', job.job_id)).description === 'nightly');
    await choose(page, 'Delete replication job');
    await page.getByRole('dialog').getByRole('textbox').fill('web01');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await until('the job to go', async () => (await scene.asked('jobs', 'show', job.job_id)).state === 'DELETED');
  });
});

/** What is read out with a field: its hint and what is wrong with it. */
const described = (field) =>
  field.evaluate((input) => (input.getAttribute('aria-describedby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' '));
