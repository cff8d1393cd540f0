// What the other files do not come by: the catalog, settings, the trail, many tabs, and a day's work by keyboard alone.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { choose, row, Scene, signedIn, until, whyNot } from './scene.mjs';

/** As many tabs as a hoarder has, if each is to have a chance on a small machine. */
const TABS = 12;

describe('all the rest', { timeout: 900_000 }, () => {
  let scene;
  let page;
  before(async () => {
    scene = await Scene.open();
    await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
    page = await scene.window();
    await scene.signIn(page);
  });
  after(() => scene?.close());

  test('the catalog is imported, cleared and imported again, and servers keep their ids', async () => {
    await page.goto(scene.at('/servers'));
    await page.getByRole('button', { name: 'Import server catalog' }).first().click();
    await row(page, 'web01').first().waitFor();
    const [before] = await scene.asked('servers', 'list');
    await page.getByRole('button', { name: 'Clear server catalog' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Clear server catalog' }).click();
    await page.getByText('The catalog is cleared.').waitFor();
    await until('no server', async () => (await scene.asked('servers', 'list')).length === 0);
    await page.getByRole('button', { name: 'Re-import server catalog' }).first().click();
    await row(page, 'web01').first().waitFor();
    const [behind] = await scene.asked('servers', 'list');
    assert.equal(behind.server_id, before.server_id);
  });

  test('an import goes on when its page is left, and nothing is left spinning', async () => {
    const asked = (request, operation) => request.headers()['x-amz-target']?.endsWith(`.${operation}`);
    await page.goto(scene.at('/servers'));
    await row(page, 'web01').first().waitFor();
    // The page does not come to see the import at work: it is left before the catalog is read again.
    let leave;
    const left = new Promise((resolve) => (leave = resolve));
    await page.route(`${scene.base}/`, async (route) => {
      if (asked(route.request(), 'DescribeServers')) await left;
      return route.continue();
    });
    const begun = page.waitForResponse((response) => asked(response.request(), 'ImportServerCatalog'));
    await page.getByRole('button', { name: 'Re-import server catalog' }).first().click();
    assert.equal((await begun).status(), 200);
    await page.getByRole('link', { name: 'Replication jobs' }).first().click();
    await page.getByText('No replication jobs').first().waitFor();
    leave();
    await page.unrouteAll({ behavior: 'wait' });
    await until('nothing that spins', async () => (await page.locator('[class*=awsui_spinner]').count()) === 0, 10_000);
    assert.equal(await page.getByText(/import/i).count(), 0, 'no message of the import stays');
    assert.deepEqual(page.problems, []);
  });

  test('a job is created and a run begun by keyboard alone', async () => {
    const window = await scene.window();
    await scene.signIn(window, '/servers');
    await row(window, 'web01').first().waitFor();
    await select(window);
    await tabTo(window, { role: 'button', name: 'Create replication job' });
    await window.keyboard.press('Enter');
    for (const button of ['Next', 'Next', 'Create job']) {
      await tabTo(window, { role: 'button', name: button });
      await window.keyboard.press('Enter');
    }
    await until('the job', async () => (await scene.asked('jobs', 'list')).length === 1);
    await until('its first image', async () => (await scene.asked('images', 'list')).length === 1);
    await row(window, 'web01').first().waitFor();
    await select(window);
    await tabTo(window, { role: 'button', name: 'Actions' });
    await window.keyboard.press('Enter');
    const entry = window.getByRole('menuitem', { name: 'Start replication run' });
    await until('a run that may begin', async () => (await entry.getAttribute('aria-disabled')) !== 'true');
    for (let presses = 0; !(await entry.evaluate((item) => item.contains(document.activeElement) || item === document.activeElement)); presses++) {
      assert.ok(presses < 20, 'the arrows reach every entry of the menu');
      await window.keyboard.press('ArrowDown');
    }
    await window.keyboard.press('Enter');
    const dialog = window.getByRole('dialog');
    await dialog.waitFor();
    await tabTo(window, { role: 'button', name: /^Start/ });
    await window.keyboard.press('Enter');
    await until('a second image', async () => (await scene.asked('images', 'list')).length === 2);
    assert.deepEqual(window.problems, []);
    await window.context().close();
  });

  test('a connector that is no longer needed is disassociated, once its name was asked for', async () => {
    await page.goto(scene.at('/connectors'));
    await page.getByRole('radio', { name: /rack1/ }).or(page.getByRole('checkbox', { name: /rack1/ })).first().check({ force: true });
    await choose(page, 'Disassociate');
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('rack1');
    await dialog.getByRole('button', { name: 'Disassociate' }).click();
    await until('no connector', async () => (await scene.asked('connectors', 'list')).length === 0);
    await page.getByText('No connectors').first().waitFor();
    await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
    await row(page, 'rack1').first().waitFor();
  });

  test('a key is created, rotated, disabled and enabled', async () => {
    await page.goto(scene.at('/settings?tab=keys'));
    await page.getByRole('button', { name: 'Create key' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Alias').fill('payroll');
    await dialog.getByRole('button', { name: 'Create', exact: true }).click();
    await dialog.getByText('It begins with alias/.').waitFor();
    await dialog.getByLabel('Alias').fill('alias/payroll');
    await dialog.getByRole('button', { name: 'Create', exact: true }).click();
    await row(page, 'alias/payroll').getByRole('radio').check({ force: true });
    const state = async () => (await scene.asked('keys', 'list')).find((key) => key.aliases.includes('alias/payroll'));
    for (const [verb, is] of [
      ['Rotate', (key) => key.version === 2],
      ['Disable', (key) => key.state === 'DISABLED'],
    ]) {
      await choose(page, verb);
      await page.getByRole('dialog').getByRole('button', { name: verb, exact: true }).click();
      await until(verb, async () => is(await state()));
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await row(page, 'alias/payroll').getByText(/disabled/i).first().waitFor();
    assert.match(await whyNot(page, 'Rotate'), /The key is disabled/);
    await choose(page, 'Enable');
    await until('an enabled key', async () => (await state()).state === 'ENABLED');
  });

  test('a policy is written, refused where it is wrong, and deleted', async () => {
    await page.goto(scene.at('/settings?tab=policies'));
    await page.getByRole('button', { name: 'Create policy' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('night-shift');
    const document = dialog.getByLabel('Document');
    const example = await document.inputValue();
    await document.fill('{');
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await dialog.getByText('This is not JSON').waitFor();
    await document.fill(example.replace('sms:Get*', 'ec2:Get*'));
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await dialog.getByText(/ec2:Get\*/).last().waitFor();
    await document.fill(example);
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByText('night-shift was saved.').waitFor();
    await page.getByRole('radio', { name: /night-shift/ }).check({ force: true });
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('dialog').getByRole('textbox').fill('night-shift');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('night-shift was deleted.').waitFor();
    await page.getByRole('radio', { name: /administrator/ }).check({ force: true });
    assert.ok(await page.getByRole('button', { name: 'Delete', exact: true }).isDisabled(), 'what is built in stays');
  });

  test('a role is made, changed and deleted', async () => {
    await page.goto(scene.at('/settings?tab=roles'));
    await page.getByRole('button', { name: 'Create role' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('night-mover');
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByText('night-mover was saved.').waitFor();
    await page.getByRole('radio', { name: /night-mover/ }).check({ force: true });
    await page.getByRole('button', { name: 'Edit', exact: true }).click();
    await dialog.getByLabel('Description').fill('moves servers by night');
    const document = dialog.getByLabel('Document');
    await document.fill((await document.inputValue()).replace(/,\s*"godwit:UseKey"/, ''));
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await row(page, 'night-mover').getByText('moves servers by night').waitFor();
    const role = await scene.asked('roles', 'show', 'night-mover');
    assert.deepEqual(JSON.parse(role.policy_document).Statement[0].Action, ['godwit:ReadSource', 'godwit:WriteStore', 'godwit:RegisterImage']);
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('dialog').getByRole('textbox').fill('night-mover');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('night-mover was deleted.').waitFor();
    await row(page, 'night-mover').waitFor({ state: 'detached' });
  });

  test('the cap over all runs is set, and a wrong one is refused beside its field', async () => {
    await page.goto(scene.at('/settings?tab=limits'));
    await page.getByRole('button', { name: 'Edit', exact: true }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('very fast');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText(/^'very' are no days/).waitFor();
    await dialog.getByRole('textbox').fill('900MB/s');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('The cap counts from now on.').waitFor();
    await page.getByText('900MB/s').first().waitFor();
  });

  test('the store is swept, and a notification that cannot go out says so', async () => {
    await page.goto(scene.at('/settings?tab=store'));
    await page.getByRole('button', { name: 'Sweep now' }).click();
    await page.getByText('The sweep has begun.').waitFor();
    await until('a sweep', async () => (await scene.asked('store', 'show')).last_sweep?.state === 'COMPLETED');
    await page.goto(scene.at('/activity'));
    await page.getByRole('button', { name: 'Send a test' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('https://127.0.0.1:9/hook');
    await dialog.getByRole('button', { name: 'Send', exact: true }).click();
    await dialog.getByText(/did not arrive/i).waitFor();
    await dialog.getByText(/127\.0\.0\.1/).waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).or(dialog.getByRole('button', { name: 'Close' })).first().click();
  });

  test('the trail tells who did what, is filtered, and is in order', async () => {
    await page.goto(scene.at('/activity?tab=audit'));
    await page.getByLabel('Action').first().fill('CreatePolicy');
    await row(page, 'godwit:CreatePolicy').first().waitFor();
    await until('nothing else', async () => (await row(page, 'godwit:CreateKey').count()) === 0);
    await page.getByRole('button', { name: 'Verify the trail' }).click();
    await page.getByText(/Nothing was changed: [\d,]+ records are in order/).waitFor();
  });

  test('many tabs share one stream, and hear of a change without a storm of requests', async () => {
    const context = page.context();
    const streams = [];
    const asked = [];
    context.on('request', (request) => {
      if (request.url().endsWith('/events')) streams.push(request);
      else if (request.headers()['x-amz-target']) asked.push(request.headers()['x-amz-target']);
    });
    const tabs = [];
    for (let n = 0; n < TABS; n++) {
      const tab = await context.newPage();
      await tab.goto(scene.at('/connectors'));
      await signedIn(tab);
      tabs.push(tab);
    }
    for (const tab of tabs) await row(tab, 'rack1').first().waitFor();
    assert.ok(streams.length <= 1, `${streams.length} streams were opened beside the first tab's`);
    asked.length = 0;
    const [connector] = await scene.asked('connectors', 'list');
    await scene.godwit('connectors', 'update', connector.connector_id, '--cap', '5MB/s');
    for (const tab of tabs) await row(tab, '5MB/s').first().waitFor();
    // What hidden tabs do not show they need not ask for, and what they show they ask for once.
    assert.ok(asked.length <= 3 * (TABS + 1), `${asked.length} requests for one change: ${asked.join(' ')}`);
    for (const tab of tabs) await tab.close();
    assert.deepEqual(page.problems, []);
  });
});

/** Selects the only row of a table: the rows come behind the box that selects all, by the arrows. */
async function select(page) {
  await tabTo(page, { role: 'checkbox', name: 'Select all' });
  await page.keyboard.press('ArrowDown');
  // What was just created is selected already.
  if (!(await page.evaluate(() => document.activeElement.checked))) await page.keyboard.press('Space');
}

/** Presses Tab until that has the focus. */
async function tabTo(page, { role, name }) {
  const wanted = page.getByRole(role, { name });
  await wanted.first().waitFor();
  for (let presses = 0; presses < 150; presses++) {
    for (const each of await wanted.all()) {
      if (await each.evaluate((element) => element === document.activeElement || element.contains(document.activeElement)).catch(() => false)) return;
    }
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not reach ${role} ${name}`);
}
