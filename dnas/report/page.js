// Draws the charts of a page when they are seen, and links them with its tables and drawings of networks.
(() => {
  'use strict';
  const $ = (query, inside = document) => inside.querySelector(query);
  const $$ = (query, inside = document) => [...inside.querySelectorAll(query)];
  const on = (query, event, act) => $$(query).forEach(element => element.addEventListener(event, () => act(element)));
  const make = (tag, text, inside, more = {}) => {
    const made = Object.assign(document.createElement(tag), {textContent: text, ...more});
    inside.append(made);
    return made;
  };
  const table = (heads, rows, inside) => {
    const made = make('table', '', inside), head = make('tr', '', make('thead', '', made)), body = make('tbody', '', made);
    heads.forEach(name => make('th', name, head, {scope: 'col'}));
    for (const [first, ...cells] of rows) {
      const line = make('tr', '', body);
      make('th', first, line, {scope: 'row'});
      cells.forEach((text, n) => make('td', text, line).dataset.name = heads[n + 1]);
    }
  };
  const config = JSON.parse($('#config').textContent);
  const views = new Map(), runs = {hidden: [], shown: ''};

  // Charts: drawn once; what the pointer picks in one of them the others and the drawing show.
  const draw = figure => figure.drawn ??= embed(figure);  // a promise: whoever asks waits until it is drawn
  async function embed(figure) {
    const options = {config, actions: false, renderer: 'svg', ast: true};
    const {view} = await vegaEmbed($('.plot', figure), JSON.parse($('.spec', figure).textContent), options);
    view.addEventListener('click', (_, item) => item && item.datum && picked(item.datum));
    views.set(figure.dataset.key, view);
    await follow(view);
  }
  function follow(view) {
    const signals = view.getState().signals;
    for (const name in runs) if (name in signals) view.signal(name, runs[name]);
    return view.runAsync();
  }
  function picked(row) {
    if (row.network) show(row.network);
    if (row.run) shine(row.run);
    if (row.choice && views.has('over-time')) views.get('over-time').signal('choice', row.choice).runAsync();
  }
  const seen = new IntersectionObserver(all => all.forEach(one => one.isIntersecting && draw(one.target)),
    {rootMargin: '300px'});
  const drawAll = () => Promise.all($$('figure.chart').filter(figure => figure.getClientRects().length).map(draw));
  function values(details) {
    if (!details.open || $('table', details)) return;
    const rows = JSON.parse($('.spec', details.closest('figure')).textContent).data.values;
    const names = [...new Set(rows.flatMap(Object.keys))].filter(name => name !== 'network');
    const cells = rows.slice(0, 2000).map(row => names.map(name => row[name] ?? ''));
    table(names, cells, make('div', '', details, {className: 'scrolled', tabIndex: 0}));
  }

  // Runs: one stands out, some are left out, all are sorted.
  function shine(run) {
    runs.shown = runs.shown === run ? '' : run;
    $$('tr[data-run]').forEach(row => {
      row.classList.toggle('shown', row.dataset.run === runs.shown);
      $('button', row).setAttribute('aria-pressed', row.dataset.run === runs.shown);
    });
    views.forEach(follow);
  }
  function filter() {
    const words = $('#filter') ? $('#filter').value.toLowerCase().split(/\s+/) : [], rows = $$('tr[data-run]');
    rows.forEach(row => row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word)));
    runs.hidden = rows.filter(row => row.hidden).map(row => row.dataset.run);
    if ($('#filtered')) $('#filtered').textContent = `${rows.length - runs.hidden.length} of ${rows.length} runs`;
    views.forEach(follow);
  }
  function sort(head, down) {
    const body = $('tbody', head.closest('table')), n = [...head.parentNode.children].indexOf(head);
    const value = row => row.children[n].dataset.value || row.children[n].textContent;
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)], [p, q] = [parseFloat(x), parseFloat(y)];
      return isNaN(p) || isNaN(q) ? isNaN(p) - isNaN(q) || x.localeCompare(y) : p - q;
    };
    $$('th[aria-sort]', head.parentNode).forEach(other => other.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    body.append(...[...body.children].sort((a, b) => down ? order(b, a) : order(a, b)));
  }

  // Networks: one is shown; block by block against another one.
  const stored = key => $(`template[data-network="${key}"]`);
  function show(key) {
    if (!stored(key)) return;
    $('#which').value = key;
    $('#network').replaceChildren(stored(key).content.cloneNode(true));
    compare();
    if (!matchMedia('(prefers-reduced-motion: reduce)').matches)
      $('#network').animate([{opacity: 0.2}, {opacity: 1}], 400);
  }
  function compare() {
    const place = $('#difference'), keys = [$('#which').value, $('#other').value];
    place.textContent = '';
    if (!keys[1]) return;
    const [a, b] = keys.map(key => new Map($$('li', stored(key).content).map(block => [block.dataset.key, block.dataset])));
    const all = [...new Set([...a.keys(), ...b.keys()])], absent = {said: 'absent', macs: 0, params: 0};
    const differ = all.filter(key => !a.has(key) || !b.has(key) || ['said', 'macs'].some(name => a.get(key)[name] !== b.get(key)[name]));
    const rows = differ.map(key => {
      const [p, q] = [a.get(key) || absent, b.get(key) || absent];
      return [key, p.said, q.said, ...['macs', 'params'].map(name => (q[name] - p[name]).toLocaleString('en'))];
    });
    table(['block', 'shown above', 'compared with', 'MACs more', 'params more'], rows, place);
    make('p', `${all.length - differ.length} blocks are the same in both.`, place, {className: 'caption'});
  }

  // The page, and its changes while runs go on.
  function begin() {
    views.forEach(view => view.finalize());
    views.clear();
    $$('figure.chart').forEach(figure => seen.observe(figure));
    on('details.values', 'toggle', values);
    on('th[aria-sort] button', 'click', button => sort(button.closest('th'), button.closest('th').ariaSort === 'ascending'));
    on('tr[data-run] button', 'click', button => picked({...button.closest('tr').dataset}));
    on('button.copy', 'click', button => {
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand('copy');
      button.textContent = 'copied';
    });
    on('#filter', 'input', filter);
    on('#which', 'change', list => show(list.value));
    on('#other', 'change', compare);
  }
  async function refresh() {
    const answer = await fetch(location.href), page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (!answer.ok) return false;
    const open = $$('details').map(d => d.open), kept = $$('#filter, #which, #other').map(e => [e.id, e.value]);
    const by = $('th[aria-sort]:not([aria-sort=none])');
    $('main').replaceWith($('main', page));
    document.title = page.title;
    $$('details').forEach((details, n) => details.open = open[n] ?? details.open);
    begin();
    kept.forEach(([id, value]) => { if ($('#' + id) && value) $('#' + id).value = value; });
    if ($('#which')) show($('#which').value);
    if (by) sort($$('th[aria-sort]').find(head => head.textContent === by.textContent), by.ariaSort === 'descending');
    filter();
    return true;
  }
  let state = document.body.dataset.state;
  async function poll() {
    try {
      const answer = await fetch(document.body.dataset.live), now = await answer.text();
      if (answer.ok && now !== state && await refresh()) state = now;
      $('#live').textContent = answer.ok ? 'Live: the page follows the runs.' : 'The runs cannot be read now.';
    } catch { $('#live').textContent = 'The server has ended; this is how things stood.'; }
    setTimeout(poll, 1500);
  }
  begin();
  addEventListener('beforeprint', drawAll);
  if (document.body.dataset.live) poll();
  window.dnas = {drawAll, views, show};
})();
