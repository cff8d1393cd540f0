// The wizard with everything that it offers, for one server and for several; and several jobs at once.

import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { choose, row, Scene, until, whyNot } from './scene.mjs';

const ZONE = 'America/New_York';
const DAY = 86_400;
const ROLE = { Statement: { Effect: 'Allow', Action: ['godwit:ReadSource', 'godwit:WriteStore', 'godwit:RegisterImage', 'godwit:UseKey'] } };

describe('the wizard, and several at once', { timeout: 900_000 }, () => {
  let scene;
  let page;
  before(async () => {
    scene = await Scene.open({ guests: ['web01', 'web02'], settings: "[connectors]\nheartbeat = '2s'\n" });
    for (const guest of scene.guests) await scene.godwit('connectors', 'add', 'qmp', '--name', `rack of ${guest}`, '--socket', path.join(scene.socketsOf(guest), 'qmp.sock'));
    await scene.godwit('servers', 'import');
    await scene.godwit('keys', 'create', '--alias', 'alias/payroll');
    const document = path.join(scene.folder, 'mover.json');
    await writeFile(document, JSON.stringify(ROLE));
    await scene.godwit('roles', 'create', 'mover', '--document', document);
    page = await scene.window({ timezoneId: ZONE });
    await scene.signIn(page);
  });
  after(() => scene?.close());

  /** What the service says of the jobs that are not deleted, in the shapes of the API. */
  const jobs = async () => {
    const answer = await page.request.post(`${scene.base}/`, {
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'Godwit_V1.DescribeReplicationJobs', 'x-godwit-console': '1' },
      data: '{}',
    });
    return (await answer.json()).jobs.filter((job) => job.state !== 'DELETED');
  };
  const next = () => page.getByRole('button', { name: 'Next' }).click();
  const begin = async (...servers) => {
    await page.goto(scene.at('/servers'));
    for (const server of servers) await page.getByRole('checkbox', { name: `Select ${server}` }).check({ force: true });
    await page.getByRole('button', { name: 'Create replication job' }).click();
    await page.getByRole('heading', { name: 'Configure server-specific settings' }).first().waitFor();
  };
  const radio = (name) => page.getByRole('radio', { name }).check({ force: true });
  const pick = async (label, option) => {
    await page.getByRole('button', { name: label }).click();
    await page.getByRole('option', { name: option }).click();
  };
  const startAt = async (days, time) => {
    const { date, at } = wall(days, time);
    await page.getByRole('textbox', { name: 'Date', exact: true }).fill(date);
    await page.getByRole('textbox', { name: 'Time', exact: true }).fill(time);
    return at;
  };

  test('a job has exactly the settings that were chosen, and starts at the time of the browser\'s zone', async () => {
    await begin('web01');
    await pick('Licence type of web01', /^BYOL/);
    await next();

    await page.getByLabel('Interval', { exact: true }).first().fill('90');
    await pick(/^Interval Unit/, 'minutes');
    await radio('At a later date and time');
    await page.getByText(/In the time zone of this browser \(America\/New_York, GMT-[45]\)/).waitFor();
    await startAt(35, '07:30');
    await radio('Use my own role');
    await next();
    await page.getByText('That is more than 30 days ahead.').waitFor();
    await page.getByText('Choose a role.').waitFor();
    const at = await startAt(3, '07:30');
    await page.getByText('That is more than 30 days ahead.').waitFor({ state: 'detached' });
    await pick(/^Role/, 'mover');
    await page.getByLabel(/^Description/).fill('night shift');
    await radio('Keep the newest images and delete older ones');
    await page.getByLabel('Images to keep').fill('3');
    await radio('Encrypt with a chosen key');
    await pick(/^Key/, /alias\/payroll/);
    await page.getByLabel(/^Failures in a row/).fill('2');
    await page.getByLabel('Recipients').first().fill('ops@example.org');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByLabel(/^Bandwidth cap/).fill('20MB/s');
    await next();

    for (const text of [
      'Replicate server every interval: every 90 minutes', /07:30:00 (GMT-[45]|E[SD]T) \(America\/New_York, GMT-[45]\)/, 'mover', 'night shift', 'The newest 3 are kept',
      'alias/payroll', 'Paused after 2 in a row', 'ops@example.org', '20MB/s', 'BYOL',
    ]) await page.getByRole('main').getByText(text).first().waitFor();

    // Back to each part, where everything is as it was left.
    await page.getByRole('button', { name: 'Edit: Configure server-specific settings' }).click();
    await page.getByRole('button', { name: 'Licence type of web01' }).getByText('BYOL').waitFor();
    await next();
    await next();
    await page.getByRole('button', { name: 'Edit: Configure replication job settings' }).click();
    assert.equal(await page.getByLabel('Images to keep').inputValue(), '3');
    await page.getByLabel('Images to keep').fill('4');
    await next();
    await page.getByText('The newest 4 are kept').waitFor();
    await page.getByRole('button', { name: 'Create job' }).click();
    await page.waitForURL(/\/console\/jobs\?job=sms-job-/);

    const [job] = await jobs();
    const { serverName, seedReplicationTime, intervalMinutes, runOnce, licenseType, licenseChosen, roleName, description } = job;
    assert.deepEqual({ serverName, seedReplicationTime, intervalMinutes, runOnce, licenseType, licenseChosen, roleName, description }, {
      serverName: 'web01', seedReplicationTime: at, intervalMinutes: 90, runOnce: false, licenseType: 'BYOL', licenseChosen: false, roleName: 'mover', description: 'night shift',
    });
    const { numberOfRecentAmisToKeep, encrypted, kmsKeyId, recipients, pauseOnFailure, pauseAfterFailures, bandwidthCap } = job;
    assert.deepEqual({ numberOfRecentAmisToKeep, encrypted, kmsKeyId, recipients, pauseOnFailure, pauseAfterFailures, bandwidthCap }, {
      numberOfRecentAmisToKeep: 4, encrypted: true, kmsKeyId: 'alias/payroll', recipients: ['ops@example.org'], pauseOnFailure: true, pauseAfterFailures: 2, bandwidthCap: '20MB/s',
    });
    // The table has the time to the run and the time of it, by the wall of the browser.
    await row(page, 'web01').getByText(/^in [23] days \(\d+ \w+, 07:30\)$/).first().waitFor();
  });

  test('a one-time migration repeats nothing and does not pause', async () => {
    await begin('web02');
    await next();
    await radio(/^One-time migration/);
    await page.getByLabel('Interval', { exact: true }).waitFor({ state: 'detached' });
    assert.ok(await page.getByRole('checkbox', { name: 'Pause replication on consecutive failures' }).isDisabled());
    await page.getByText('Not offered for one-time jobs').waitFor();
    await radio('At a later date and time');
    const at = await startAt(1, '23:15');
    await next();
    await page.getByRole('main').getByText('One-time migration', { exact: true }).waitFor();
    await page.getByRole('main').getByText('Default role (sms)').waitFor();
    await page.getByRole('button', { name: 'Create job' }).click();
    await page.waitForURL(/\/console\/jobs\?job=sms-job-/);
    const { runOnce, intervalMinutes, seedReplicationTime, roleName, recipients } = (await jobs()).find((job) => job.serverName === 'web02');
    assert.deepEqual({ runOnce, intervalMinutes, seedReplicationTime, roleName, recipients }, {
      runOnce: true, intervalMinutes: undefined, seedReplicationTime: at, roleName: 'sms', recipients: [],
    });
    for (const job of await jobs()) await scene.godwit('jobs', 'delete', job.replicationJobId, '--wait');
    assert.deepEqual(page.problems, []);
  });

  test('several servers get their jobs in one go', async () => {
    await begin('web01', 'web02');
    for (const server of scene.guests) await page.getByRole('button', { name: `Licence type of ${server}` }).waitFor();
    await next();
    await next();
    await page.getByRole('button', { name: 'Create 2 jobs' }).click();
    await page.waitForURL(/\/console\/jobs$/);
    await page.getByText('2 replication jobs created.').waitFor();
    assert.deepEqual((await jobs()).map((job) => job.serverName).sort(), ['web01', 'web02']);
    await until('an image of each', async () => new Set((await scene.asked('images', 'list')).map((image) => image.server_name)).size === 2);
  });

  test('runs of several jobs are started at once', async () => {
    for (const server of scene.guests) await page.getByRole('checkbox', { name: `Select ${server}` }).check({ force: true });
    await until('runs that may begin', async () => (await whyNot(page, 'Start replication run')) === undefined);
    assert.match(await whyNot(page, 'Edit replication job'), /Select one job only/);
    await choose(page, 'Start replication run');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('web01, web02').waitFor();
    await dialog.getByRole('button', { name: 'Start', exact: true }).click();
    await page.getByText('2 runs started.').waitFor();
    for (const job of await jobs()) {
      await until(`a run on demand of ${job.serverName}`, async () =>
        (await scene.asked('runs', 'list', '--job', job.replicationJobId)).some((run) => run.type === 'ON_DEMAND' && run.state === 'COMPLETED'));
    }
    assert.equal((await scene.asked('images', 'list')).length, 4);
  });

  test('several jobs are deleted at once, after that was confirmed', async () => {
    const both = await jobs();
    await choose(page, 'Delete replication job');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('web01, web02').waitFor();
    const confirm = dialog.getByRole('button', { name: 'Delete', exact: true });
    assert.ok(await confirm.isDisabled(), 'nothing was typed yet');
    await dialog.getByRole('textbox').fill('web01');
    assert.ok(await confirm.isDisabled(), 'one name does not stand for two jobs');
    await dialog.getByRole('textbox').fill('delete');
    await confirm.click();
    await page.getByText('2 jobs being deleted.').waitFor();
    for (const job of both) await until(`${job.serverName} without a job`, async () => (await scene.asked('jobs', 'show', job.replicationJobId)).state === 'DELETED');
    assert.equal((await scene.asked('images', 'list')).length, 4, 'what was made stays');
    assert.deepEqual(page.problems, []);
  });

  test('the pane of an image tells its run, its snapshot and its digest', async () => {
    const [image] = await scene.asked('images', 'list');
    const shown = await scene.asked('images', 'show', image.image_id);
    await page.goto(scene.at(`/images?image=${image.image_id}`));
    const volume = row(page, shown.volumes[0].snapshot_id);
    await volume.getByText(`${shown.volumes[0].root_digest.slice(0, 16)}…`).waitFor();
    await page.getByRole('link', { name: shown.run_id }).last().click();
    await page.waitForURL(new RegExp(`run=${shown.run_id}`));
    const dialog = page.getByRole('dialog');
    await dialog.getByText(shown.run_id).first().waitFor();
    await dialog.getByText(image.image_id).first().waitFor();
  });

  test('a connector whose VM manager is gone is unhealthy, and says why', async () => {
    const socket = path.join(scene.socketsOf('web02'), 'qmp.sock');
    await page.goto(scene.at('/connectors'));
    const rack = row(page, 'rack of web02');
    await rack.getByText('Healthy', { exact: true }).waitFor();
    await rename(socket, `${socket}.away`);
    try {
      await rack.getByText('Unhealthy', { exact: true }).waitFor();
      await rack.getByText(/there is no socket/).first().waitFor();
      await row(page, 'rack of web01').getByText('Healthy', { exact: true }).waitFor();
    } finally {
      await rename(`${socket}.away`, socket);
    }
    await rack.getByText('Healthy', { exact: true }).waitFor();
    const [{ manager_name, manager_version }] = (await scene.asked('connectors', 'list')).filter((each) => each.name === 'rack of web02');
    for (const text of [manager_name, manager_version, socket]) await rack.getByText(text).first().waitFor();
    assert.deepEqual(page.problems, []);
  });

  for (const wrong of [2, -2]) {
    test(`times are right in a browser whose clock is ${wrong} hours off`, async () => {
      const window = await scene.window();
      await window.clock.install({ time: Date.now() + wrong * 3_600_000 });
      await scene.signIn(window, '/connectors');
      const times = row(window, 'rack of web01').locator('time');
      await times.first().waitFor();
      assert.equal(Math.round((await window.evaluate(() => Date.now()) - Date.now()) / 3_600_000), wrong, 'the clock of the page is off');
      // When it was associated, and when it was heard of last.
      assert.equal(await times.count(), 2);
      for (const time of await times.all()) {
        const age = (Date.now() - Date.parse(await time.getAttribute('datetime'))) / 1000;
        assert.ok(age >= 0 && age < 3_600, `heard of ${age} s ago`);
        assert.match(await time.innerText(), age > 90 ? /^\d+ minutes? ago$/ : /^(just now|\d+ (second|minute)s? ago)$/);
      }
      assert.deepEqual(window.problems, []);
      await window.context().close();
    });
  }

  test('an export leaves nothing in the browser once it is saved', async () => {
    const [image] = await scene.asked('images', 'list');
    const window = await scene.window();
    await window.addInitScript(() => delete window.showSaveFilePicker);
    await window.clock.install();
    await scene.signIn(window, `/images?image=${image.image_id}`);
    const kept = () => window.evaluate(async () => (await Array.fromAsync((await navigator.storage.getDirectory()).keys())).length);
    await row(window, image.image_id).first().waitFor();
    await choose(window, 'Export');
    const dialog = window.getByRole('dialog');
    const [download] = await Promise.all([window.waitForEvent('download'), dialog.getByRole('button', { name: 'Export', exact: true }).click()]);
    await download.saveAs(path.join(scene.folder, 'saved.qcow2'));
    await window.getByText(/\.qcow2 is complete\./).waitFor();
    assert.equal(await kept(), 1, 'what is saved from');
    await window.clock.fastForward('10:00');
    await until('an empty space', async () => (await kept()) === 0);
    // A page that was closed too soon: the next one removes what it left.
    await window.evaluate(async () => {
      const handle = await (await navigator.storage.getDirectory()).getFileHandle('left', { create: true });
      await (await handle.createWritable()).close();
    });
    assert.equal(await kept(), 1);
    await window.clock.fastForward('10:00');
    await window.goto(scene.at('/images'));
    await until('an empty space again', async () => (await kept()) === 0);
    assert.deepEqual(window.problems, []);
    await window.context().close();
  });
});

/** A time so many days from now on the walls of the zone: as a date picker wants it, and in seconds since 1970. */
function wall(days, time) {
  const on = new Intl.DateTimeFormat('en-CA', { timeZone: ZONE }).format(Date.now() + days * DAY * 1000);
  const there = new Intl.DateTimeFormat('en-CA', { timeZone: ZONE, dateStyle: 'short', timeStyle: 'short', hourCycle: 'h23' });
  // Four hours behind UTC in summer, five in winter.
  const at = [4, 5].map((hours) => Date.parse(`${on}T${time}:00Z`) + hours * 3_600_000).find((each) => there.format(each) === `${on}, ${time}`);
  return { date: on.replaceAll('-', '/'), at: at / 1000 };
}
