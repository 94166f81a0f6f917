// Draws the charts of a page when they are seen, and links them with its tables and drawings of networks.
(() => {
  'use strict';
  const $ = (query, inside = document) => inside.querySelector(query);
  const $$ = (query, inside = document) => [...inside.querySelectorAll(query)];
  const make = (tag, text = '', inside = null) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (inside) inside.append(made);
    return made;
  };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const themes = JSON.parse($('#themes').textContent);
  const views = new Map();
  let runs = {hidden: [], shown: ''};

  // Charts -----------------------------------------------------------------------------------------------------------

  async function draw(figure) {
    if (figure.dataset.drawn) return;
    figure.dataset.drawn = 'begun';
    const theme = dark.matches && !matchMedia('print').matches ? 'dark' : 'light';
    const options = {config: themes[theme], actions: false, renderer: 'svg', ast: true, tooltip: {theme}};
    const {view} = await vegaEmbed($('.plot', figure), JSON.parse($('.spec', figure).textContent), options);
    view.addEventListener('click', (_, item) => item && item.datum && picked(item.datum));
    views.set(figure.dataset.key, view);
    follow(view);
    figure.dataset.drawn = 'yes';
  }
  function follow(view) {
    const signals = view.getState().signals;
    for (const name of ['hidden', 'shown']) if (name in signals) view.signal(name, runs[name]);
    view.runAsync();
  }
  function picked(row) {
    if (row.network) show(row.network);
    if (row.run) shine(row.run);
    const over = views.get('over-time');
    if (row.choice && over) over.signal('choice', row.choice).runAsync();
  }
  const seen = new IntersectionObserver(entries => entries.forEach(e => e.isIntersecting && draw(e.target)),
    {rootMargin: '300px'});
  function drawAll() {
    return Promise.all($$('figure.chart').filter(f => f.getClientRects().length).map(draw));
  }
  function values(details) {
    if (!details.open || $('table', details)) return;
    const rows = JSON.parse($('.spec', details.closest('figure')).textContent).data.values;
    const names = [...new Set(rows.flatMap(Object.keys))].filter(name => name !== 'network');
    const table = make('table', '', make('div', '', details));
    table.parentNode.className = 'scrolled';
    table.parentNode.tabIndex = 0;
    const head = make('tr', '', make('thead', '', table)), body = make('tbody', '', table);
    names.forEach(name => make('th', name, head).scope = 'col');
    for (const row of rows.slice(0, 2000)) {
      const line = make('tr', '', body);
      names.forEach(name => make('td', row[name] ?? '', line));
    }
  }

  // Runs -------------------------------------------------------------------------------------------------------------

  function shine(run) {
    runs.shown = runs.shown === run ? '' : run;
    $$('tr[data-run]').forEach(row => {
      row.classList.toggle('shown', row.dataset.run === runs.shown);
      $('button', row).setAttribute('aria-pressed', row.dataset.run === runs.shown);
    });
    views.forEach(follow);
  }
  function filter() {
    const wanted = ($('#filter') || {value: ''}).value.toLowerCase().split(/\s+/);
    const rows = $$('tr[data-run]');
    rows.forEach(row => row.hidden = !wanted.every(word => row.textContent.toLowerCase().includes(word)));
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

  // Networks ---------------------------------------------------------------------------------------------------------

  function show(key) {
    const which = $('#which');
    if (!which || ![...which.options].some(option => option.value === key)) return;
    which.value = key;
    $('#network').innerHTML = $(`template[data-network="${key}"]`).innerHTML;
    compare();
    $('#network').classList.remove('new');
    void $('#network').offsetWidth;
    $('#network').classList.add('new');
  }
  function blocks(key) {
    const items = $$('li', $(`template[data-network="${key}"]`).content);
    return new Map(items.map(item => [item.dataset.key, item.dataset]));
  }
  function compare() {
    const other = $('#other'), place = $('#difference');
    if (!other) return;
    place.textContent = '';
    if (!other.value) return;
    const [a, b] = [blocks($('#which').value), blocks(other.value)];
    const table = make('table', '', place), head = make('tr', '', make('thead', '', table));
    ['block', 'shown above', 'compared with', 'MACs more', 'params more'].forEach(t => make('th', t, head).scope = 'col');
    const body = make('tbody', '', table);
    let same = 0;
    for (const key of new Set([...a.keys(), ...b.keys()])) {
      const [p, q] = [a.get(key), b.get(key)];
      if (p && q && p.said === q.said && p.macs === q.macs) { same += 1; continue; }
      const line = make('tr', '', body), more = name => ((q ? +q[name] : 0) - (p ? +p[name] : 0)).toLocaleString('en');
      make('th', key, line).scope = 'row';
      [p ? p.said : 'absent', q ? q.said : 'absent', more('macs'), more('params')].forEach((text, n) =>
        make('td', text, line).dataset.name = head.children[n + 1].textContent);
    }
    make('p', `${same} blocks are the same in both.`, place).className = 'caption';
  }

  // The page, and its changes while runs go on -----------------------------------------------------------------------

  function begin() {
    views.forEach(view => view.finalize());
    views.clear();
    $$('figure.chart').forEach(figure => seen.observe(figure));
    $$('details.values').forEach(details => details.addEventListener('toggle', () => values(details)));
    $$('th[aria-sort] button').forEach(button => button.addEventListener('click', () => {
      const head = button.closest('th');
      sort(head, head.getAttribute('aria-sort') === 'ascending');
    }));
    $$('tr[data-run] button').forEach(button => button.addEventListener('click', () => {
      const row = button.closest('tr');
      shine(row.dataset.run);
      show(row.dataset.network);
    }));
    $$('button.copy').forEach(button => button.addEventListener('click', () => {
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand('copy');
      button.textContent = 'copied';
    }));
    if ($('#filter')) $('#filter').addEventListener('input', filter);
    if ($('#which')) $('#which').addEventListener('change', event => show(event.target.value));
    if ($('#other')) $('#other').addEventListener('change', compare);
  }
  async function refresh() {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), 'text/html');
    const open = $$('details').map(d => d.open), kept = $$('#filter, #which, #other').map(e => [e.id, e.value]);
    const by = $('th[aria-sort]:not([aria-sort=none])');
    $('main').replaceWith($('main', page));
    document.title = page.title;
    $$('details').forEach((details, n) => details.open = open[n] || false);
    begin();
    kept.forEach(([id, value]) => { if ($('#' + id) && value) $('#' + id).value = value; });
    if ($('#which')) show($('#which').value);
    if (by) sort($$('th[aria-sort]').find(h => h.textContent === by.textContent), by.ariaSort === 'descending');
    filter();
  }
  let state = document.body.dataset.state;
  async function poll() {
    const told = $('#live');
    try {
      const answer = await fetch(document.body.dataset.live);
      const now = await answer.text();
      if (answer.ok && now !== state) { await refresh(); state = now; }
      $('#live').textContent = answer.ok ? 'Live: the page follows the runs.' : 'The runs cannot be read now.';
    } catch { told.textContent = 'The server has ended; this is how things stood.'; }
    setTimeout(poll, 1500);
  }
  begin();
  dark.addEventListener('change', () => {
    $$('figure.chart').forEach(figure => delete figure.dataset.drawn);
    drawAll();
  });
  addEventListener('beforeprint', drawAll);
  if (document.body.dataset.live) poll();
  window.dnas = {drawAll, views, show};
})();
