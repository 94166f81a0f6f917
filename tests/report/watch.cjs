// Keeps a page open in Chromium; for each line that is read, an expression, its value there is a line of JSON.
//   NODE_PATH=.../node_modules node watch.cjs CHROMIUM URL
const { chromium } = require('playwright-core');
const { createInterface } = require('readline');

async function main() {
  const [path, url] = process.argv.slice(2), messages = [];
  const browser = await chromium.launch({executablePath: path, args: ['--no-sandbox', '--disable-gpu', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']});
  const page = await browser.newPage({viewport: {width: 1280, height: 900}});
  page.on('console', m => ['error', 'warning'].includes(m.type()) && messages.push(m.text()));
  page.on('pageerror', e => messages.push(String(e)));
  await page.goto(url, {timeout: 120000});
  for await (const line of createInterface({input: process.stdin}))
    console.log(JSON.stringify(line === 'messages' ? messages : (await page.evaluate(line)) ?? null));
  await browser.close();
}
main().catch(error => { console.error(error); process.exit(1); });
