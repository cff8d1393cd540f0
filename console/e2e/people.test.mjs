// Who signs in, how, and what they may do; several at once.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { choose, PATIENCE, row, Scene, signedIn, signInByKey, signInByPassword, until, whyNot } from './scene.mjs';

const PASSWORD = 'correct horse battery';

describe('people', { timeout: 600_000 }, () => {
  let scene;
  let admin;
  /** A service whose sessions end after a minute, and a page that was left open there when the others began. */
  let brief;
  let left;
  before(async () => {
    brief = await Scene.open({ guest: false, settings: "[access]\nsession_idle = '1m'\n" });
    left = await brief.window();
    await brief.signIn(left, '/jobs?filter=State+%3D+Active');
    await left.getByText('No matches').or(left.getByText('No replication jobs')).first().waitFor();
    scene = await Scene.open();
    await scene.godwit('connectors', 'add', 'qmp', '--name', 'rack1', '--socket', path.join(scene.sockets, 'qmp.sock'));
    await scene.godwit('servers', 'import');
    admin = await scene.window();
    await scene.signIn(admin);
  });
  after(async () => {
    await scene?.close();
    await brief?.close();
  });

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

  test('two people work at once: what one does the other sees, without a reload', async () => {
    const ann = await scene.window();
    await ann.goto(scene.at('/jobs'));
    await signInByPassword(ann, 'ann', PASSWORD);
    await signedIn(ann);
    await admin.goto(scene.at('/jobs'));
    for (const page of [ann, admin]) {
      await page.getByText('No replication jobs').waitFor();
      await page.evaluate(() => (window.isSame = true));
    }
    // One creates a job,
    await ann.getByRole('button', { name: 'Choose servers' }).click();
    await ann.getByRole('checkbox', { name: 'Select web01' }).check({ force: true });
    await ann.getByRole('button', { name: 'Create replication job' }).click();
    for (const button of ['Next', 'Next', 'Create job']) await ann.getByRole('button', { name: button, exact: true }).click();
    await ann.waitForURL(/\/console\/jobs\?job=sms-job-/);
    await row(admin, 'web01').getByText('every 12 hours').first().waitFor();
    // the other changes it,
    await admin.getByRole('checkbox', { name: /Select web01/ }).check({ force: true });
    await choose(admin, 'Edit replication job');
    await admin.getByRole('dialog').getByRole('spinbutton', { name: 'Interval' }).fill('6');
    await admin.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await row(ann, 'web01').getByText('every 6 hours').first().waitFor();
    // and the first one is asked again for what she sees now.
    await choose(ann, 'Edit replication job');
    assert.equal(await ann.getByRole('dialog').getByRole('spinbutton', { name: 'Interval' }).inputValue(), '6');
    await ann.getByRole('dialog').getByLabel(/^Description/).fill('of both');
    await ann.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await admin.getByRole('tabpanel', { name: 'Job details' }).getByText('of both', { exact: true }).waitFor();
    for (const page of [ann, admin]) assert.ok(await page.evaluate(() => window.isSame), 'the page was not loaded anew');
    await ann.context().close();
    await until('an image', async () => (await scene.asked('images', 'list')).length > 0);
  });

  test('who may only read sees everything and can change nothing', async () => {
    const file = path.join(scene.folder, 'monitor');
    await scene.godwit('users', 'create', 'monitor', '--policy', 'read-only', '--credentials-file', file);
    const text = await readFile(file, 'utf8');
    const page = await scene.window();
    await page.goto(scene.at('/connectors'));
    await signInByKey(page, /aws_access_key_id\s*=\s*(\S+)/.exec(text)[1], /aws_secret_access_key\s*=\s*(\S+)/.exec(text)[1]);
    const [image] = await scene.asked('images', 'list');
    // Where, what is seen there, and what cannot be done: buttons, and items of the menu of a row.
    const cannot = [
      ['/connectors', 'rack1', ['Associate connector'], ['Edit connector', 'Disassociate']],
      ['/servers', 'web01', ['Clear server catalog', 'Re-import server catalog', 'Create replication job'], []],
      ['/jobs', 'web01', [], ['Start replication run', 'Resume replication job', 'Edit replication job', 'Delete replication job']],
      ['/images', image.image_id, [], ['Verify', 'Export', 'Delete']],
      ['/activity', 'No notifications', ['Send a test'], []],
      ['/settings', 'monitor', ['Create user', 'Create access key'], ['Set password', 'Disable', 'Delete']],
      ['/settings?tab=keys', 'Create key', ['Create key'], []],
      ['/settings?tab=policies', 'Create policy', ['Create policy'], []],
      ['/settings?tab=limits', 'Edit', ['Edit'], []],
      ['/settings?tab=store', 'Sweep now', ['Sweep now', 'Scrub now'], []],
    ];
    for (const [address, seen, buttons, items] of cannot) {
      await page.goto(scene.at(address));
      await page.getByRole('main').getByText(seen).first().waitFor();
      for (const name of buttons) assert.ok(await page.getByRole('button', { name, exact: true }).first().isDisabled(), `${name} at ${address}`);
      if (items.length === 0) continue;
      await row(page, seen).getByRole('checkbox').or(row(page, seen).getByRole('radio')).first().check({ force: true });
      for (const name of items) {
        assert.match((await whyNot(page, name)) ?? 'it can be used', /^Your policies do not allow (sms|godwit):\w+\.$/, `${name} at ${address}`);
        // The first Escape may have closed the reason alone.
        if (await page.getByRole('menuitem').first().isVisible()) await page.keyboard.press('Escape');
        await page.getByRole('menuitem').first().waitFor({ state: 'hidden' });
      }
    }
    assert.deepEqual(page.problems, []);
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

  test('a user gets a key and a link; disabled, it is out at once; then it is deleted', async () => {
    await admin.goto(scene.at('/settings'));
    await admin.getByRole('button', { name: 'Create user' }).click();
    const dialog = admin.getByRole('dialog');
    await dialog.getByLabel('User name').fill('eve');
    await dialog.getByRole('button', { name: 'Create', exact: true }).click();
    await admin.getByRole('radio', { name: 'Select eve' }).check({ force: true });
    await admin.getByRole('heading', { name: 'Access keys of eve' }).waitFor();
    await admin.getByRole('button', { name: 'Create access key' }).click();
    const told = (label) => dialog.locator('dt').filter({ hasText: label }).locator('xpath=following-sibling::dd[1]').innerText();
    await dialog.getByText('The secret is shown now and never again.').waitFor();
    const [id, secret] = [await told('Access key ID'), await told('Secret access key')];
    await dialog.getByRole('button', { name: 'Close' }).last().click();
    const byKey = await scene.window();
    await byKey.goto(scene.at('/jobs'));
    await signInByKey(byKey, id.trim(), secret.trim());

    await choose(admin, 'Create sign-in link');
    const link = await dialog.getByText(/#link=/).first().textContent();
    await dialog.getByRole('button', { name: 'Close' }).last().click();
    const byLink = await scene.window();
    await byLink.goto(/https?:\S+#link=[\w-]+/.exec(link)[0]);
    await signedIn(byLink);

    await choose(admin, 'Disable');
    await dialog.getByRole('button', { name: 'Disable', exact: true }).click();
    for (const page of [byKey, byLink]) {
      await page.getByText('Your session has ended').waitFor();
      await page.context().close();
    }
    await row(admin, 'eve').getByText('Disabled').first().waitFor();
    await choose(admin, 'Delete');
    await dialog.getByRole('textbox').fill('eve');
    await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
    await admin.getByRole('radio', { name: 'Select eve' }).waitFor({ state: 'detached' });
    assert.ok((await scene.asked('users', 'list')).every((user) => user.user_name !== 'eve'));
    assert.deepEqual(admin.problems, []);
  });

  test('who guesses has to wait, and is told for how long', async () => {
    const page = await scene.window();
    await page.goto(scene.at('/'));
    const password = page.getByLabel('Password', { exact: true });
    const told = page.getByText(/^Too many attempts\. Try again in \d+ s\.$/);
    let wait = 0;
    // Typing errors are free; then each failure doubles the wait. The button is pressed as soon as it can be.
    for (let tries = 0; wait < 4; tries++) {
      assert.ok(tries < 15, 'guessing goes on for ever');
      await signInByPassword(page, 'ann', 'not the password');
      await until('an answer', async () => (await password.inputValue()) === '');
      wait = (await told.count()) ? Number(/\d+/.exec(await told.textContent())[0]) : 0;
    }
    assert.ok(await page.getByRole('button', { name: 'Sign in', exact: true }).isDisabled());
    await told.waitFor({ state: 'detached' });
    await signInByPassword(page, 'ann', PASSWORD);
    await signedIn(page);
    await page.context().close();
  });

  test('a session that nobody uses ends by itself, though its page reads on', async () => {
    await left.getByText('Your session has ended').waitFor({ timeout: PATIENCE });
    const credentials = await readFile(path.join(brief.data, 'credentials'), 'utf8');
    await signInByKey(left, /aws_access_key_id\s*=\s*(\S+)/.exec(credentials)[1], /aws_secret_access_key\s*=\s*(\S+)/.exec(credentials)[1]);
    await left.getByText('Your session has ended').waitFor({ state: 'detached' });
    assert.match(left.url(), /\/console\/jobs\?filter=/, 'the page stays');
    assert.deepEqual(left.problems, []);
  });
});
