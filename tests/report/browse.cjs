// Opens pages in Chromium and tells what it found there, as JSON.
//   NODE_PATH=.../node_modules node browse.cjs CHROMIUM '[{"url": "file:///...", "width": 390, "shot": "a.png"}]'
const { chromium } = require('playwright-core');
const { readFileSync } = require('fs');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

// Texts that lie on each other, reach out of the page or are too small; charts without marks.
function measured() {
  const found = {over: [], out: [], small: [], empty: [], charts: 0, texts: 0, wide: document.documentElement.scrollWidth};
  const seen = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true});
  for (const figure of document.querySelectorAll('figure.chart')) {
    if (!figure.getClientRects().length) continue;
    found.charts += 1;
    const marks = [...figure.querySelectorAll('.plot svg .role-mark path, .plot svg .role-mark line')].filter(e => {
      const b = e.getBoundingClientRect();
      return !e.closest('.role-axis') && !e.closest('.role-legend') && !e.classList.contains('background') && b.width + b.height > 0;
    });
    if (!marks.length) found.empty.push(figure.dataset.key);
  }
  const lines = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || ['STYLE', 'SCRIPT', 'TITLE', 'DESC', 'OPTION', 'TEMPLATE'].includes(parent.tagName)
        || parent.closest('.unseen, .scrolled, #vg-tooltip-element') || !seen(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const b of range.getClientRects()) {
      if (b.width > 1) lines.push({b, node, text: node.data.trim(), figure: parent.closest('figure')});
      if (b.right > innerWidth + 1 || b.left < -1) found.out.push(node.data.trim().slice(0, 60));
      if (b.height && parseFloat(getComputedStyle(parent).fontSize) < 9) found.small.push(node.data.trim());
    }
  }
  found.texts = lines.length;
  lines.sort((p, q) => p.b.top - q.b.top);
  for (let i = 0; i < lines.length; i++)
    for (let k = i + 1; k < lines.length && lines[k].b.top < lines[i].b.bottom; k++) {
      const [p, q] = [lines[i], lines[k]];
      // The box of a line has room above and below its letters: lines that share some of that do not touch.
      const slack = 0.3 * Math.min(p.b.height, q.b.height);
      if (p.node !== q.node && Math.min(p.b.right, q.b.right) - Math.max(p.b.left, q.b.left) > 1
          && Math.min(p.b.bottom, q.b.bottom) - Math.max(p.b.top, q.b.top) > slack)
        found.over.push([p.text.slice(0, 50), q.text.slice(0, 50), p.figure ? p.figure.dataset.key : '']);
    }
  return found;
}

// The pointer on the largest mark of charts: a tooltip; a click on one that has a network: its drawing.
async function touched(page) {
  const told = {tried: 0, tips: 0, covers: 0, picked: null};
  const middle = key => page.evaluate(key => {
    const figure = document.querySelector(`figure[data-key="${key}"]`);
    figure.scrollIntoView({block: 'center'});
    const marks = [...figure.querySelectorAll('.mark-symbol.role-mark path, .mark-rect.role-mark path')].map(e => e.getBoundingClientRect());
    const [box] = marks.filter(b => b.width > 2 && b.top > 0 && b.bottom < innerHeight).sort((p, q) => q.width * q.height - p.width * p.height || q.left - p.left);
    return box && [box.left + box.width / 2, box.top + box.height / 2];
  }, key);
  const keys = await page.evaluate(() => [...document.querySelectorAll('figure.chart')].filter(f => f.getClientRects().length).map(f => f.dataset.key));
  for (const key of keys.slice(0, 8)) {
    const at = await middle(key);
    if (!at) continue;
    told.tried += 1;
    await page.mouse.move(...at);
    const tip = page.locator('#vg-tooltip-element.visible');
    await tip.waitFor({timeout: 3000}).catch(() => {});
    if (await tip.count() && (await tip.innerText()).length > 3) told.tips += 1;
    else (told.silent ??= []).push([key, at, await page.evaluate(([x, y]) => document.elementFromPoint(x, y)?.outerHTML.slice(0, 300), at)]);
  }
  // A tooltip that takes the pointer hides the marks below it, those of the next chart too once the page has scrolled.
  told.covers = await page.evaluate(() => [...document.querySelectorAll('#vg-tooltip-element.visible')].filter(tip => {
    const b = tip.getBoundingClientRect();
    return tip.contains(document.elementFromPoint(b.left + b.width / 2, b.top + b.height / 2));
  }).length);
  const linked = keys.find(key => /^(pareto|met)/.test(key));
  if (linked && await page.locator('#which').count()) {
    await page.evaluate(() => { document.querySelector('#which').selectedIndex = 0; });
    await page.mouse.click(...await middle(linked));
    await page.waitForTimeout(100);
    told.picked = await page.locator('#which').inputValue();
  }
  return told;
}

async function main() {
  const [path, asked] = process.argv.slice(2);
  const browser = await chromium.launch({executablePath: path, args: ['--no-sandbox', '--disable-gpu', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']});
  const answers = [];
  for (const {url, width, shot, folds, dark} of JSON.parse(asked)) {
    const page = await browser.newPage({viewport: {width, height: 900}, colorScheme: dark ? 'dark' : 'light'});
    const answer = {console: [], requests: []};
    page.on('console', m => ['error', 'warning'].includes(m.type()) && answer.console.push(m.text()));
    page.on('pageerror', e => answer.console.push(String(e)));
    page.on('request', r => r.url() !== url && !/^(data|blob):/.test(r.url()) && answer.requests.push(r.url()));
    page.setDefaultTimeout(120000);
    await page.goto(url);
    answer.interactive = await page.evaluate(() => Math.round(performance.timing.domInteractive - performance.timing.navigationStart));
    if (folds) await page.evaluate(() => document.querySelectorAll('section > details, details:has(.panel)').forEach(d => d.open = true));
    await page.evaluate(() => window.dnas && window.dnas.drawAll());
    await page.waitForTimeout(300);
    Object.assign(answer, await page.evaluate(measured));
    if (shot) await page.screenshot({path: shot, fullPage: true});
    answer.touched = await touched(page);
    // What fades in is measured as it stands then.
    await page.evaluate(() => Promise.all(document.getAnimations().map(one => one.finished)));
    await page.evaluate(axe);
    const faults = (await page.evaluate(() => window.axe.run(document, {resultTypes: ['violations']}))).violations;
    answer.axe = faults.filter(f => ['serious', 'critical'].includes(f.impact)).map(f =>
      `${f.id}: ${f.nodes.length} x ${f.nodes[0].html.slice(0, 160)}`);
    const colours = () => page.evaluate(() => [...new Set([...document.querySelectorAll('.plot svg text')].map(e => getComputedStyle(e).fill))]);
    answer.colours = await colours();
    await page.emulateMedia({media: 'print'});
    answer.printed = await colours();
    await page.setViewportSize({width: 700, height: 900});
    answer.cut = await page.evaluate(() => [...document.querySelectorAll('.plot svg, .runs')].filter(e => e.getBoundingClientRect().right > innerWidth).length);
    answers.push(answer);
    await page.close();
  }
  await browser.close();
  console.log(JSON.stringify(answers));
}
main().catch(error => { console.error(error); process.exit(1); });
