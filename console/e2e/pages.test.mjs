// Every page, in light and dark, wide and narrow: nothing that axe-core objects to. A service that fails. How much is
// transferred, and ten thousand jobs and servers.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { ADDRESSES } from './addresses.mjs';
import { row, Scene, until, violations } from './scene.mjs';

/** Bytes of all that is loaded before the first table is there, each compressed by brotli. */
const BUDGET = 550_000;

describe('all pages', { timeout: 900_000 }, () => {
  let scene;
  let page;
  before(async () => {
    scene = await Scene.open({ settings: "[audit]\nkeep = '30d'\n" });
    await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
    await scene.godwit('servers', 'import');
    await scene.godwit('jobs', 'create', '--server', 'web01', '--every', '12h');
    await until('an image', async () => (await scene.asked('images', 'list')).length > 0);
    // A sample at the start, and one behind this.
    await scene.godwit('store', 'sweep');
    await until('two samples', async () => (await scene.asked('store', 'use')).recorded >= 2);
    page = await scene.window();
    await scene.signIn(page);
  });
  after(() => scene?.close());

  for (const look of ['light', 'dark']) {
    test(`axe-core finds nothing and nothing is wider than the window, ${look}`, async () => {
      await page.evaluate((wanted) => localStorage.setItem('godwit.look', JSON.stringify(wanted)), look);
      for (const [name, address] of Object.entries(await ADDRESSES(scene))) {
        await page.goto(scene.at(address));
        await page.getByRole('heading', { level: 1 }).first().waitFor();
        await page.waitForLoadState('networkidle').catch(() => undefined);
        assert.deepEqual(await violations(page), [], `${name}, ${look}`);
        for (const width of [390, 1280]) {
          await page.setViewportSize({ width, height: 900 });
          // What is on it follows the window, within some frames.
          await until(`${name} to fit into ${width} px`, async () => (await overflow(page)) <= 1, 5_000);
        }
      }
    });
  }

  test('of a service that fails every page tells, nothing spins for ever, and trying again helps', async () => {
    const fail = (route) => route.fulfill({ status: 500, json: { __type: 'InternalError', message: 'Out of order.' } });
    const told = page.getByText('Out of order.');
    const again = page.getByRole('button', { name: 'Try again' });
    const spinners = page.locator('[class*="awsui_spinner"]').filter({ visible: true });
    for (const [name, address] of Object.entries(await ADDRESSES(scene))) {
      await page.route(`${scene.base}/`, fail);
      await page.goto(scene.at(address));
      await told.first().waitFor();
      await until(`no spinner on ${name}`, async () => (await spinners.count()) === 0);
      assert.ok(await again.count(), `${name} has a button to try again`);
      await page.unrouteAll({ behavior: 'wait' });
      await until(`${name} without errors`, async () => {
        if (await told.count()) await again.first().click({ timeout: 1_000 }).catch(() => undefined);
        return (await told.count()) === 0 && (await again.count()) === 0;
      });
      await until(`no spinner on ${name}, which works again`, async () => (await spinners.count()) === 0);
    }
    assert.deepEqual(page.problems, []);
  });

  test('the overview draws the recorded use of the store, and has it in figures', async () => {
    await page.goto(scene.at('/'));
    const curve = page.getByRole('application', { name: 'Use over time' });
    await curve.waitFor();
    for (const span of ['24 hours', '30 days', 'All']) {
      await page.getByRole('button', { name: span, exact: true }).click();
      await curve.waitFor();
    }
    await page.getByRole('button', { name: 'The same in figures' }).click();
    const figures = page.getByRole('table', { name: 'The same in figures' });
    await figures.waitFor();
    const { points } = await scene.asked('store', 'use');
    const newest = figures.getByRole('row').nth(1);
    assert.match(await newest.innerText(), /MiB/, 'what the image takes');
    assert.equal(await figures.getByRole('row').count(), points.length + 1);
    assert.deepEqual(await violations(page), []);
  });

  test('the overview draws throughput and changes of the jobs, and counts the runs of the day', async () => {
    await page.goto(scene.at('/'));
    for (const name of ['Throughput (MB/s)', 'Changed (MiB)']) await page.getByRole('application', { name }).waitFor();
    assert.equal(await page.getByText('web01', { exact: true }).filter({ visible: true }).count(), 3, 'the lane of the timeline, and a legend each');
    const runs = await scene.asked('runs', 'list');
    assert.equal(await figure(page, 'Completed').innerText(), String(runs.filter((run) => run.state === 'COMPLETED').length));
    assert.equal(await figure(page, 'Failed').innerText(), '0');
    await page.getByText('Nothing needs attention.').waitFor();
  });

  test('a connector and an image are shown with all that is known of them', async () => {
    const [connector] = await scene.asked('connectors', 'list');
    await page.goto(scene.at('/connectors'));
    const line = row(page, 'rack1').first();
    await line.getByText('Healthy', { exact: true }).waitFor();
    const text = await line.innerText();
    for (const value of [connector.manager_name, connector.manager_version, connector.socket]) assert.ok(text.includes(value), `${value} in: ${text}`);
    await line.locator('time').first().waitFor();

    const [image] = await scene.asked('images', 'list');
    const { volumes } = await scene.asked('images', 'show', image.image_id);
    await page.goto(scene.at(`/images?image=${image.image_id}`));
    const snapshot = page.getByRole('table', { name: 'Volumes and snapshots' }).getByRole('row').filter({ hasText: 'vd0' });
    for (const value of [volumes[0].snapshot_id, `${volumes[0].root_digest.slice(0, 16)}…`]) await snapshot.getByText(value).waitFor();
    await figure(page, 'Run').getByRole('link', { name: image.run_id }).click();
    await page.getByRole('dialog').getByText(image.run_id).first().waitFor();
    assert.deepEqual(page.problems, []);
  });

  test('a setting that differs from its default is shown so, with where it is changed', async () => {
    await page.goto(scene.at('/settings?tab=defaults'));
    const audit = page.getByRole('table', { name: '[audit]' });
    await audit.waitFor();
    const keep = audit.getByRole('row').filter({ hasText: 'How long what was done stays on record.' });
    for (const text of ['30d', 'differs from default', '365d', 'Settings file']) assert.match(await keep.innerText(), new RegExp(text));
    await page.getByText(`They are changed in ${scene.settings}`).waitFor();
    await page.getByPlaceholder('Find settings').fill('repack');
    await page.getByText('2 matches').first().waitFor();
    await page.getByPlaceholder('Find settings').fill('');
    await page.getByLabel('Only what differs from its default').check({ force: true });
    await page.getByRole('table', { name: '[store]' }).waitFor({ state: 'detached' });
    await audit.waitFor();
  });

  test('the sign-in page has nothing either, and a phone can use it', async () => {
    const phone = await scene.window({ viewport: { width: 390, height: 800 } });
    await phone.goto(scene.at('/'));
    await phone.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
    assert.deepEqual(await violations(phone), []);
    await phone.evaluate(() => localStorage.setItem('godwit.look', '"dark"'));
    await phone.reload();
    await phone.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
    assert.equal(await phone.evaluate(() => document.documentElement.style.colorScheme), 'dark');
    assert.deepEqual(await violations(phone), [], 'the sign-in page, dark');
    assert.ok((await overflow(phone)) <= 1, 'the page is wider than the window');
    await scene.signIn(phone, '/jobs');
    await row(phone, 'web01').first().waitFor();
    assert.ok((await overflow(phone)) <= 1, 'the page is wider than the window');
    // Cloudscape's toolbar of narrow windows has an orientation, which axe does not allow there: not ours to change.
    const ours = (await violations(phone)).filter((violation) => !violation.includes('mobile-toolbar-nav'));
    assert.deepEqual(ours, [], 'the jobs on a phone');
    await phone.context().close();
  });

  test('the first load stays within its budget', async () => {
    // As a release embeds them: a debug build compresses less, so that it is built sooner.
    const fresh = await scene.window();
    const loaded = new Map();
    fresh.on('response', (response) => loaded.set(response.url(), response.body().catch(() => Buffer.alloc(0))));
    await scene.signIn(fresh, '/jobs');
    await row(fresh, 'web01').first().waitFor();
    let bytes = 0;
    for (const [url, body] of loaded) if (!url.endsWith('/events')) bytes += brotliCompressSync(await body).length;
    console.log(`first load: ${(bytes / 1000).toFixed(0)} KB`);
    assert.ok(bytes < BUDGET, `${bytes} bytes`);

    // Told, not judged: how long it takes depends on what else the machine does.
    await watchLongTasks(fresh);
    await fresh.goto(scene.at('/jobs'));
    await row(fresh, 'web01').first().waitFor();
    const shown = await fresh.evaluate(() => Math.round(performance.now()));
    const busy = await fresh.evaluate(() => Math.round(Math.max(0, ...window.longTasks.map((task) => task.end))));
    console.log(`interactive after ${Math.max(shown, busy)} ms: first row after ${shown} ms, last long task ended after ${busy} ms`);
    await fresh.context().close();
  });

  test('ten thousand jobs are shown and filtered', async () => {
    const [job] = (await answer(scene, page, 'DescribeReplicationJobs')).jobs;
    // The page's own work is what counts here: the answers are those of the service, many times over.
    await page.route(`${scene.base}/`, async (route) => {
      if (!route.request().headers()['x-amz-target']?.endsWith('.DescribeReplicationJobs')) return route.continue();
      const from = Number(JSON.parse(route.request().postData() ?? '{}').nextToken ?? 0);
      const jobs = Array.from({ length: 100 }, (_, n) => ({
        ...job, replicationJobId: `sms-job-${String(from + n).padStart(8, '0')}`, serverName: `server-${from + n}`, state: (from + n) % 1000 === 7 ? 'PAUSED_ON_FAILURE' : 'ACTIVE',
      }));
      const next = from + 100;
      return route.fulfill({ json: { jobs, ...(next < 10_000 ? { nextToken: String(next) } : {}) } });
    });
    await watchLongTasks(page);
    await page.goto(scene.at('/jobs'));
    await page.getByText('(10,000)').waitFor();
    await row(page, 'server-').first().hover();
    await longTasks(page, 'loading 10,000 jobs');
    for (let turn = 0; turn < 20; turn++) {
      await page.mouse.wheel(0, 200);
      await page.waitForTimeout(50);
    }
    await longTasks(page, 'scrolling 10,000 jobs');
    await page.getByRole('button', { name: 'Next page' }).first().click();
    await row(page, 'server-').first().waitFor();
    await longTasks(page, 'turning a page of 10,000 jobs');
    const filter = page.getByPlaceholder('Find jobs');
    await filter.fill('State = PausedOnFailure');
    await filter.press('Enter');
    await page.getByText('10 matches').first().waitFor();
    assert.match(decodeURIComponent(page.url().replaceAll('+', ' ')), /State = PausedOnFailure/);
    await longTasks(page, 'filtering 10,000 jobs');
    await page.unrouteAll({ behavior: 'wait' });
    assert.deepEqual(page.problems, []);
  });

  test('ten thousand servers are shown and filtered, and a column that was hidden stays so', async () => {
    const catalog = await answer(scene, page, 'DescribeServers');
    const [server] = catalog.servers;
    const { replicationJobId, ...free } = server;
    await page.route(`${scene.base}/`, async (route) => {
      if (!route.request().headers()['x-amz-target']?.endsWith('.DescribeServers')) return route.continue();
      const from = Number(JSON.parse(route.request().postData() ?? '{}').nextToken ?? 0);
      const servers = Array.from({ length: 1000 }, (_, n) => ({
        ...(n === 7 ? server : free),
        serverId: `s-${String(from + n).padStart(8, '0')}`,
        name: `server-${from + n}`,
        platform: n % 2 ? 'WINDOWS_SERVER' : 'LINUX',
      }));
      const next = from + 1000;
      return route.fulfill({ json: { ...catalog, servers, nextToken: next < 10_000 ? String(next) : undefined } });
    });
    await watchLongTasks(page);
    await page.goto(scene.at('/servers'));
    await page.getByText('(10,000)').waitFor();
    await row(page, 'server-').first().waitFor();
    await longTasks(page, 'loading 10,000 servers');
    const filter = page.getByPlaceholder('Find servers');
    await filter.fill('Platform = Linux');
    await filter.press('Enter');
    await page.getByText('5,000 matches').first().waitFor();
    await longTasks(page, 'filtering 10,000 servers');
    const table = page.getByRole('grid', { name: 'Servers' });
    await row(table, 'Linux').first().waitFor();
    await until('Linux alone', async () => (await row(table, 'Windows server').count()) === 0);
    await page.goto(scene.at(`/servers?filter=${encodeURIComponent('Platform = "Windows server" and "Job state" = Active')}`));
    await page.getByText('10 matches').first().waitFor();
    await row(table, 'server-7').first().waitFor();
    assert.equal(await row(table, 'None').count(), 0, 'those without a job are left out');

    await page.getByRole('button', { name: 'Preferences' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('VM manager').uncheck({ force: true });
    assert.deepEqual(await violations(page), [], 'the dialog of the preferences');
    await dialog.getByRole('button', { name: 'Confirm' }).click();
    await table.getByRole('columnheader', { name: 'VM manager' }).waitFor({ state: 'detached' });
    await page.reload();
    await row(table, 'server-7').first().waitFor();
    assert.equal(await table.getByRole('columnheader', { name: 'VM manager' }).count(), 0);
    assert.equal(await table.getByRole('columnheader', { name: 'Platform' }).count(), 1);
    await page.unrouteAll({ behavior: 'wait' });
    assert.deepEqual(page.problems, []);
  });
});

/** The first page of a list, as the service gives it to the console. */
async function answer(scene, page, operation) {
  const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': `Godwit_V1.${operation}`, 'x-godwit-console': '1' };
  return (await page.request.post(`${scene.base}/`, { headers, data: '{}' })).json();
}

/** What stands under a label. */
const figure = (page, label) => page.locator('dt').filter({ hasText: new RegExp(`^${label}$`) }).locator('xpath=following-sibling::dd[1]');

/** Pixels by which a page is wider than its window. */
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

/** From the next load on, what keeps the page from answering for more than 50 ms is written down. */
async function watchLongTasks(page) {
  await page.addInitScript(() => {
    if (window.longTasks) return;
    window.longTasks = [];
    const note = ({ startTime, duration }) => window.longTasks.push({ end: startTime + duration, took: Math.round(duration) });
    new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type: 'longtask', buffered: true });
  });
}

/** Tells the long tasks since it was asked before. */
async function longTasks(page, doing) {
  const took = await page.evaluate(() => window.longTasks.splice(0).map((task) => task.took));
  console.log(`long tasks while ${doing} (ms): ${took.join(', ') || 'none'}`);
}
