// Looks at the console in a real browser.
//
//   node .ci/console/browser.mjs .ci/node target/debug/examples/console_fixture [FOLDER]
//
// The fixture is a program with the console, which takes words on its standard input. With a folder, screenshots go there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const [modules, fixture, folder] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), 'package.json'));
const puppeteer = require('puppeteer-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const LIMIT = 30_000;

const programs = new Set();
const profile = mkdtempSync(join(tmpdir(), 'botticelli-obs-console-'));

// Starts the fixture and returns it with its address.
async function start(address = '127.0.0.1:0', variables = {}) {
  const program = spawn(resolve(fixture), [], { env: { ...process.env, PROMETHEUS_ENDPOINT: address, RUST_LOG: 'off', JAEGER_URL: 'http://localhost:16686', ...variables }, stdio: ['pipe', 'pipe', 'inherit'] });
  programs.add(program);
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  const addr = await next();
  return {
    addr,
    url: `http://${addr}/`,
    // Tells the fixture to do something, and waits until it has done it.
    async tell(word) {
      program.stdin.write(word + '\n');
      assert.equal(await next(), 'done');
    },
    async stop() {
      const ended = new Promise((done) => program.once('exit', done));
      program.kill();
      await ended;
      programs.delete(program);
    },
  };
}

// Repeats until this does not throw.
async function until(check, limit = LIMIT) {
  const deadline = Date.now() + limit;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', userDataDir: profile, args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'], protocolTimeout: 120_000 });
const complaints = [];
async function open(url, { width = 1280, height = 900, scheme = 'light', isQuiet = true } = {}) {
  const page = await browser.newPage();
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }, { name: 'prefers-reduced-motion', value: 'reduce' }]);
  if (isQuiet) {
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
  }
  await page.goto(url, { waitUntil: 'load' });
  return page;
}
const text = (page, selector) => page.$eval(selector, (element) => element.textContent.trim());
const texts = (page, selector) => page.$$eval(selector, (elements) => elements.map((element) => element.textContent.trim()));
const live = (page) => until(async () => assert.equal(await text(page, '#status'), 'live'));

async function checkAccess(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  const found = violations.map((v) => `${name}: ${v.impact} ${v.id}: ${v.help} ${v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join('; ')}`);
  assert.deepEqual(found, []);
}

const steps = {
  async 'an empty console says what to do'() {
    const program = await start();
    const page = await open(program.url);
    await live(page);
    assert.match(await text(page, '#empty'), /No calls yet.*LlmCall::start/s);
    await checkAccess(page, 'empty');
    await page.close();
    await program.stop();
  },

  async 'numbers are those of the snapshot, charts move, filters work'() {
    const program = await start();
    const page = await open(program.url);
    await live(page);
    await program.tell('calls');
    await until(async () => assert.equal(await text(page, '[data-tile=calls] .value'), '60'));
    const metrics = await (await fetch(program.url + 'metrics')).text();
    const sum = (name) => metrics.split('\n').filter((line) => line.startsWith(name + '{')).reduce((all, line) => all + Number(line.slice(line.lastIndexOf(' '))), 0);
    const shown = (value) => new Intl.NumberFormat('en').format(value);
    assert.equal(await text(page, '[data-tile=calls] .value'), shown(sum('llm_requests_total')));
    assert.equal(await text(page, '[data-tile=tokens] .value'), shown(sum('llm_tokens_total')));
    const rows = await page.$$eval('#models tbody tr', (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
    const titles = await texts(page, '#models th');
    for (const line of metrics.split('\n').filter((line) => line.startsWith('llm_requests_total{'))) {
      const [, model, count] = /model="([^"]*)"} (\d+)/.exec(line);
      const row = rows.find((cells) => cells[titles.indexOf('Model')] === model);
      assert.equal(row[titles.indexOf('Calls')], shown(Number(count)), line);
    }
    assert.equal(await text(page, '[data-tile=errors] .under'), `${sum('llm_errors_total')} rate_limit`);

    // Sections of what there is.
    assert.match(await text(page, '#tasks-card'), /writer/);
    assert.match(await text(page, '#tools-card'), /search/);
    assert.match(await text(page, '#limits-card'), /requests/);
    await until(async () => assert.match(await text(page, '#scrape'), /Last scrape .* ago, by node/));

    // Charts: bars come with the points, and a further one when there were calls.
    const bars = () => page.$$eval('[data-chart=calls] rect', (all) => all.length);
    await until(async () => assert.ok(await bars() > 0));
    const before = await page.$eval('[data-chart=calls] svg', (svg) => svg.innerHTML);
    await program.tell('calls');
    await until(async () => assert.notEqual(await page.$eval('[data-chart=calls] svg', (svg) => svg.innerHTML), before));
    await until(async () => assert.equal(await text(page, '[data-tile=calls] .value'), '120'));

    // Filters.
    const listed = () => page.$$eval('#calls tbody tr', (all) => all.length);
    assert.equal(await listed(), 120);
    await page.select('#by-outcome', 'rate_limit');
    const column = (await texts(page, '#calls th')).indexOf('Outcome');
    const outcomes = await page.$$eval('#calls tbody tr', (all, column) => all.map((row) => row.cells[column].textContent), column);
    assert.ok(outcomes.length > 0 && outcomes.every((outcome) => outcome.startsWith('rate_limit')), outcomes.join());
    await page.select('#by-model', 'gpt-4o-mini');
    assert.match(await text(page, '#calls-count'), /^\d+ of 120$/);
    await page.click('#clear');
    assert.equal(await listed(), 120);
    await page.select('#by-task', 'writer');
    assert.ok(await listed() > 0 && await listed() < 120);
    await page.click('#clear');

    // By keyboard: the window, and the order of the table.
    await page.focus('#windows button');
    await page.keyboard.press('Enter');
    await until(async () => assert.equal(await page.$eval('#windows button', (button) => button.getAttribute('aria-pressed')), 'true'));
    await page.focus('#models th button');
    await page.keyboard.press('Enter');
    assert.equal(await page.$eval('#models th', (cell) => cell.getAttribute('aria-sort')), 'ascending');
    for (const scheme of ['light', 'dark']) {
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }, { name: 'prefers-reduced-motion', value: 'reduce' }]);
      await checkAccess(page, scheme);
    }
    await page.close();
    await program.stop();
  },

  async 'a stopped program is said, and a new one is noticed'() {
    const program = await start();
    await program.tell('calls');
    const page = await open(program.url, { isQuiet: false });
    await live(page);
    await program.stop();
    await until(async () => assert.equal(await text(page, '#status'), 'stopped'));
    assert.match(await text(page, '#notice'), /has stopped/);
    await checkAccess(page, 'stopped');
    const next = await start(program.addr);
    await live(page);
    await until(async () => assert.match(await text(page, '#notice'), /restarted/));
    await next.stop();
    await page.close();
  },

  async 'labels are text, whatever is in them'() {
    const program = await start();
    await program.tell('hostile');
    const page = await open(program.url);
    await live(page);
    await until(async () => assert.ok((await texts(page, '#calls tbody tr')).length > 0));
    const names = await texts(page, '#models td.name, #calls td.name');
    for (const part of ['<script>', '`&amp;</td>', '🦀', '\u202e', 'x'.repeat(100)]) assert.ok(names.some((name) => name.includes(part)), part);
    assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main img').length + Number(window.isOwned || 0)), 0);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'long labels do not widen the page');
    await page.close();
    await program.stop();
  },

  async 'a token comes in the fragment and leaves the address'() {
    const program = await start('127.0.0.1:0', { TOKEN: 's3cret-token' });
    const without = await open(program.url, { isQuiet: false });
    await until(async () => assert.equal(await text(without, '#status'), 'token needed'));
    await without.close();
    const page = await open(program.url + '#token=s3cret-token');
    await live(page);
    assert.equal(page.url(), program.url);
    await page.reload();
    await live(page);
    await page.close();
    await program.stop();
  },

  async 'another site gets nothing'() {
    const program = await start();
    const other = await start();
    const page = await open(other.url + 'health', { isQuiet: false });
    const got = await page.evaluate(async (url) => {
      try { return (await fetch(url + 'console/state')).status; } catch { return 'refused'; }
    }, program.url);
    assert.equal(got, 'refused');
    await page.close();
    await program.stop();
    await other.stop();
  },

  async 'a page of 1,000 pairs stays usable'() {
    const program = await start();
    await program.tell('pairs');
    const page = await open(program.url);
    await live(page);
    await until(async () => assert.match(await text(page, '#models-count'), /of 1,000|^1,000/));
    await page.click('#models-all');
    assert.equal(await page.$$eval('#models tbody tr', (all) => all.length), 1000);
    // Frames while it polls, scrolls and sorts for six seconds.
    const frames = await page.evaluate(() => new Promise((done) => {
      const times = [], region = document.querySelector('#models').parentElement, end = performance.now() + 6000;
      let last = performance.now(), sorted = false;
      const frame = (now) => {
        times.push(now - last);
        last = now;
        region.scrollTop += 40;
        if (!sorted && now > end - 3000) { sorted = true; document.querySelector('#models th:nth-child(3) button').click(); }
        if (now < end) requestAnimationFrame(frame); else done(times);
      };
      requestAnimationFrame(frame);
    }));
    frames.sort((a, b) => a - b);
    const at = (part) => frames[Math.floor(part * (frames.length - 1))].toFixed(0);
    console.log(`  frames of 1,000 pairs: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, longest ${at(1)} ms`);
    await page.close();
    await program.stop();
  },

  async 'ten consoles'() {
    const program = await start();
    await program.tell('calls');
    const pages = [];
    for (let count = 0; count < 10; count += 1) pages.push(await open(program.url));
    await Promise.all(pages.map(live));
    await program.tell('calls');
    await Promise.all(pages.map((page) => until(async () => assert.equal(await text(page, '[data-tile=calls] .value'), '120'))));
    await Promise.all(pages.map((page) => page.close()));
    await program.stop();
  },
};

if (folder) {
  steps['pictures'] = async () => {
    const program = await start();
    await program.tell('flow');
    for (const scheme of ['light', 'dark']) {
      for (const [width, height] of [[360, 780], [1280, 900], [2560, 1440]]) {
        const page = await open(program.url, { width, height, scheme });
        await live(page);
        await until(async () => assert.ok(await page.$$eval('[data-chart=calls] rect', (all) => all.length) > 3));
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `nothing is wider than ${width} px`);
        await page.screenshot({ path: join(folder, `console-${width}-${scheme}.png`) });
        await page.close();
      }
    }
    await program.stop();
  };
}

let failed = 0;
const only = process.env.ONLY;
try {
  for (const [name, step] of Object.entries(steps)) {
    if (only && !name.includes(only)) continue;
    complaints.length = 0;
    try {
      await step();
      assert.deepEqual(complaints, [], 'nothing is on the console of the browser');
      console.log('ok: ' + name);
    } catch (error) {
      failed += 1;
      console.log('FAILED: ' + name + '\n' + (error.stack || error));
    }
  }
} finally {
  await browser.close();
  for (const program of programs) program.kill();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(failed ? 1 : 0);
