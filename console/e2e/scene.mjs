// A real service, a real guest, a real browser. What a scene starts it ends.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const run = promisify(execFile);
const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const TESTBED = path.join(ROOT, 'testbed');
const GUESTS = process.env.GODWIT_TESTBED ?? path.join(os.homedir(), '.cache/godwit/guests');
export const GODWIT = process.env.GODWIT ?? path.join(ROOT, 'target/debug/godwit');
const CHROMIUM = process.env.GODWIT_CHROMIUM ?? '/usr/bin/chromium';

/** Milliseconds that anything may take on a busy machine before it counts as not happening. */
export const PATIENCE = 120_000;

/** The same for what a page shows. */
const CLICK = 45_000;

export async function until(what, look, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

export class Scene {
  /** `settings` is what the settings file says, `guests` how the VMs are called. */
  static async open({ guest = true, guests = guest ? ['web01'] : [], settings = '' } = {}) {
    // A short path: unix sockets have room for 107 bytes.
    const scene = new Scene(await mkdtemp('/tmp/gw-e2e-'));
    try {
      await writeFile(scene.settings, settings);
      await Promise.all(guests.map((name) => scene.startGuest(name)));
      await scene.startService();
      scene.browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
    } catch (error) {
      await scene.close();
      throw error;
    }
    return scene;
  }

  constructor(folder) {
    this.folder = folder;
    this.data = path.join(folder, 'data');
    this.guests = [];
    this.output = '';
  }

  /** Where the sockets of the first guest are. */
  get sockets() {
    return this.socketsOf('web01');
  }

  socketsOf(guest) {
    return path.join(this.folder, guest);
  }

  get settings() {
    return path.join(this.folder, 'godwit.toml');
  }

  async startGuest(name) {
    this.guests.push(name);
    const disk = path.join(this.folder, `${name}.qcow2`);
    await run('qemu-img', ['convert', '-O', 'qcow2', path.join(GUESTS, 'small.raw'), disk]);
    await run(path.join(TESTBED, 'start-guest'), [disk, this.socketsOf(name), '--name', name]);
    const serial = path.join(this.socketsOf(name), 'serial.log');
    await until('the guest to write', async () => /GEN [2-9]/.test(await readFile(serial, 'latin1')));
  }

  /** Starts the service, at the address that it had before if it was started already. */
  async startService() {
    const address = this.base ? new URL(this.base).host : '127.0.0.1:0';
    this.output = '';
    this.service = spawn(GODWIT, ['serve', '--data', this.data, '--listen', address, '--config', this.settings], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.service.stdout, this.service.stderr]) stream.on('data', (text) => (this.output += text));
    const address_ = await until('the service to listen', () => {
      if (this.service.exitCode !== null) throw new Error(`godwit serve ended: ${this.output}`);
      return /listening on (https?:\/\/[^\s/]+)/.exec(this.output)?.[1];
    });
    this.base = address_;
    this.link ??= /https?:\/\/\S+#link=\S+/.exec(this.output)?.[0];
  }

  async stopService() {
    if (!this.service || this.service.exitCode !== null) return;
    this.service.kill('SIGTERM');
    await once(this.service, 'exit');
  }

  /** The command line, as the administrator. */
  async godwit(...args) {
    const env = { ...process.env, GODWIT_ENDPOINT: this.base, AWS_SHARED_CREDENTIALS_FILE: path.join(this.data, 'credentials') };
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) delete env[name];
    const { stdout } = await run(GODWIT, args, { env, maxBuffer: 1 << 26 });
    return stdout;
  }

  async asked(...args) {
    return JSON.parse(await this.godwit(...args, '--json'));
  }

  /** A browser window of somebody: cookies of their own. */
  async window(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(CLICK);
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy|Uncaught/.test(message.text())) page.problems.push(message.text());
    });
    return page;
  }

  at(address) {
    return `${this.base}/console${address}`;
  }

  /** Signs in by the access key in the data folder. */
  async signIn(page, address = '/') {
    const credentials = await readFile(path.join(this.data, 'credentials'), 'utf8');
    const [, id] = /aws_access_key_id\s*=\s*(\S+)/.exec(credentials);
    const [, secret] = /aws_secret_access_key\s*=\s*(\S+)/.exec(credentials);
    await page.goto(this.at(address));
    await signInByKey(page, id, secret);
  }

  async close() {
    await this.browser?.close();
    await this.stopService();
    for (const guest of this.guests) await run(path.join(TESTBED, 'stop-guest'), [this.socketsOf(guest)]).catch(() => undefined);
    await rm(this.folder, { recursive: true, force: true });
  }
}

export async function signInByKey(page, id, secret) {
  await page.getByRole('radio', { name: 'Access key' }).check({ force: true });
  await page.getByLabel('Access key ID').fill(id);
  await page.getByLabel('Secret access key').fill(secret);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await signedIn(page);
}

export async function signInByPassword(page, userName, password) {
  await page.getByLabel('User name', { exact: true }).fill(userName);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

export const signedIn = (page) => page.getByRole('navigation', { name: 'Navigation' }).first().waitFor({ state: 'attached' });

/** A row of a table by a text in it. */
export const row = (page, text) => page.getByRole('row').filter({ hasText: text });

/** Chooses from the menu "Actions". */
export async function choose(page, item, scope = page) {
  const entry = page.getByRole('menuitem', { name: item });
  // It may be open still, from a look at what can be done.
  if (!(await entry.isVisible())) await scope.getByRole('button', { name: 'Actions', exact: true }).first().click();
  await entry.click();
}

/** Whether an item of the menu "Actions" can be used, and why not. */
export async function whyNot(page, item) {
  await page.getByRole('button', { name: 'Actions', exact: true }).first().click();
  const entry = page.getByRole('menuitem', { name: item });
  await entry.waitFor();
  const disabled = (await entry.getAttribute('aria-disabled')) === 'true';
  const tooltip = page.locator('[role=tooltip], [data-testid=tooltip-live-region-content]').first();
  let reason;
  // On a busy machine a pointer that came before the entry listened is not noticed: it comes again.
  for (let turn = 0; disabled && !reason && turn < 8; turn++) {
    await page.mouse.move(0, 0);
    await entry.hover();
    reason = await tooltip.textContent({ timeout: 3_000 }).catch(() => undefined);
  }
  await page.keyboard.press('Escape');
  return disabled ? reason || 'disabled' : undefined;
}

const axe = await readFile(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

/** What axe-core finds wrong with a page. */
export function violations(page) {
  return page.evaluate(`(() => { ${axe}; return axe.run(document, { resultTypes: ['violations'] }).then((found) =>
    found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 160)).join(' | '))); })()`);
}
