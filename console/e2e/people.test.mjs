// Who signs in, how, and what they may do; several at once.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { row, Scene, signedIn, signInByKey, signInByPassword, until } from './scene.mjs';

const PASSWORD = 'correct horse battery';

describe('people', { timeout: 600_000 }, () => {
  let scene;
  let admin;
  before(async () => {
    scene = await Scene.open();
    await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
    await scene.godwit('servers', 'import');
    admin = await scene.window();
    await scene.signIn(admin);
  });
  after(() => scene?.close());

  test('an administrator makes a user with a password, who signs in with it', async () => {
    await admin.goto(scene.at('/settings'));
    await admin.getByRole('button', { name: 'Create user' }).click();
    await admin.getByRole('dialog').getByLabel('User name').fill('ann');
    await admin.getByRole('dialog').getByRole('button', { name: 'Create', exact: true }).click();
    await admin.getByRole('radio', { name: 'Select ann' }).check({ force: true });
    await admin.getByRole('button', { name: 'Actions', exact: true }).first().click();
    await admin.getByRole('menuitem', { name: 'Set password' }).click();
    const dialog = admin.getByRole('dialog');
    await dialog.getByLabel('Password').fill('short');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('It has fewer than 12 characters.').waitFor();
    await dialog.getByLabel('Password').fill(PASSWORD);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await admin.getByText('The password of ann was set.').waitFor();

    const ann = await scene.window();
    await ann.goto(scene.at('/jobs'));
    await signInByPassword(ann, 'ann', 'not the password');
    await ann.getByText('That did not work').waitFor();
    await signInByPassword(ann, 'ann', PASSWORD);
    await signedIn(ann);
    assert.match(ann.url(), /\/console\/jobs$/, 'the address is kept');
    await ann.context().close();
  });

  test('what one does the other sees, without a reload', async () => {
    const ann = await scene.window();
    await ann.goto(scene.at('/jobs'));
    await signInByPassword(ann, 'ann', PASSWORD);
    await signedIn(ann);
    await ann.getByText('No replication jobs').waitFor();
    await scene.godwit('jobs', 'create', '--server', 'web01', '--every', '12h');
    await row(ann, 'web01').first().waitFor();
    await admin.goto(scene.at('/jobs'));
    await row(admin, 'web01').first().waitFor();
    await ann.context().close();
  });

  test('who may only read sees everything and can change nothing', async () => {
    const file = path.join(scene.folder, 'monitor');
    await scene.godwit('users', 'create', 'monitor', '--policy', 'read-only', '--credentials-file', file);
    const text = await readFile(file, 'utf8');
    const page = await scene.window();
    await page.goto(scene.at('/connectors'));
    await signInByKey(page, /aws_access_key_id\s*=\s*(\S+)/.exec(text)[1], /aws_secret_access_key\s*=\s*(\S+)/.exec(text)[1]);
    await row(page, 'rack1').first().waitFor();
    assert.ok(await page.getByRole('button', { name: 'Associate connector' }).isDisabled());
    await page.goto(scene.at('/jobs'));
    await page.getByRole('checkbox', { name: /Select web01/ }).check({ force: true });
    await page.getByRole('button', { name: 'Actions', exact: true }).first().click();
    for (const item of await page.getByRole('menuitem').all()) assert.equal(await item.getAttribute('aria-disabled'), 'true');
    await page.context().close();
  });

  test('a session that has ended asks who it is, and the page stays', async () => {
    const ann = await scene.window();
    await ann.goto(scene.at('/servers?filter=Name+%3D+web01'));
    await signInByPassword(ann, 'ann', PASSWORD);
    await row(ann, 'web01').first().waitFor();
    await ann.request.delete(`${scene.base}/session`);
    await ann.getByText('Your session has ended').waitFor();
    await ann.getByRole('dialog').getByLabel('Password', { exact: true }).fill(PASSWORD);
    await ann.getByRole('dialog').getByRole('button', { name: 'Sign in', exact: true }).click();
    await ann.getByText('Your session has ended').waitFor({ state: 'detached' });
    assert.match(ann.url(), /filter=/);
    await row(ann, 'web01').first().waitFor();
    await ann.context().close();
  });

  test('signing out everywhere ends all sessions', async () => {
    const [one, two] = [await scene.window(), await scene.window()];
    for (const page of [one, two]) {
      await page.goto(scene.at('/'));
      await signInByPassword(page, 'ann', PASSWORD);
      await signedIn(page);
    }
    await one.getByRole('button', { name: /^ann/ }).first().click();
    await one.getByRole('menuitem', { name: 'Sign out everywhere' }).click();
    await one.getByRole('heading', { name: 'Sign in to Godwit' }).waitFor();
    await two.getByText('Your session has ended').waitFor();
    await until('no session', async () => (await two.request.get(`${scene.base}/session`)).status() === 401);
    for (const page of [one, two]) await page.context().close();
  });
});
