// The page around the curves: facts, parts of a step, ranks, saves and loads, the configuration.

const kInside = {  // parts of a step that lie in another
  'optimizer-clip-main-grad': 'optimizer', 'optimizer-count-zeros': 'optimizer', 'optimizer-inner-step': 'optimizer',
  'params-all-gather': 'optimizer', 'optimizer-unscale-and-check-inf': 'optimizer', 'optimizer-copy-to-main-grad': 'optimizer',
  'optimizer-copy-main-to-model-params': 'optimizer', 'batch-generator': 'forward-backward', 'forward-compute': 'forward-backward',
  'backward-compute': 'forward-backward', 'forward-recv': 'forward-backward', 'forward-send': 'forward-backward',
  'backward-recv': 'forward-backward', 'backward-send': 'forward-backward',
};

function swatch(parent, r) {
  html('span', 'swatch', parent).style.background = `var(--run${r})`;
}

function showHead(data, main) {
  const header = html('header', '', main);
  html('h1', '', header, data.runs.length > 1 ? 'Two training runs' : 'Training run');
  const names = html('div', 'runs', header);
  data.runs.forEach((run, r) => {
    const name = html('span', 'run', names);
    swatch(name, r);
    name.append(run.name);
  });
  const theme = html('button', '', header, 'light / dark');
  theme.onclick = () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
  };
  const notes = html('ul', 'notes', main);
  data.runs.forEach((run, r) => {
    for (const note of run.notes) html('li', '', notes, data.runs.length > 1 ? `${run.name}: ${note}` : note);
  });
  const facts = html('div', `facts${data.runs.length > 1 ? ' two' : ''}`, main);
  for (const [label, values] of data.facts) {
    const card = html('div', 'card fact', facts);
    html('div', 'label', card, label);
    values.forEach((value, r) => {
      const row = html('div', 'value run', card);
      if (data.runs.length > 1) { swatch(row, r); row.style.display = 'flex'; }
      row.append(value || '–');
    });
  }
}

function showCharts(data, main) {
  const bar = html('div', 'bar', main);
  const axis = html('label', '', bar, 'over');
  const select = html('select', '', axis);
  for (const [name, kind] of Object.entries(kAxes))
    if (data.runs.every(kind.has)) html('option', '', select, kind.title).value = name;
  select.onchange = () => { view.axis = select.value; zoom(null); };
  const log = html('label', '', bar);
  const box = html('input', '', log);
  box.type = 'checkbox';
  box.onchange = () => { view.logLoss = box.checked; redraw(); };
  log.append('loss on a logarithmic scale');
  const whole = html('button', '', bar, 'whole run');
  whole.id = 'whole';
  whole.hidden = true;
  whole.onclick = () => zoom(null);
  html('span', '', bar, 'Drag over a picture to look closer; a double click shows all again.');
  const charts = html('div', 'charts', main);
  view.charts = data.charts.map(chart => new ChartView(chart, data, charts));
  redraw();
  let width = charts.clientWidth;
  new ResizeObserver(() => {
    if (charts.clientWidth === width) return;
    width = charts.clientWidth;
    redraw();
  }).observe(charts);
}

function showParts(data, main) {
  const runs = data.runs.map((run, r) => ({run, r})).filter(({run}) => run.parts.length > 0);
  if (runs.length === 0) return;
  html('h2', '', main, 'Where the time of a step goes');
  const panel = html('div', 'card panel', main);
  html('p', 'help', panel, 'Mean time of each part on the slowest rank, and its share of the step. The dark bar reaches from the fastest rank ' +
      'to the slowest.');
  const names = [...new Set(runs.flatMap(({run}) => run.parts.map(p => p.name)))];
  const outer = names.filter(n => !names.includes(kInside[n]));
  const ordered = outer.flatMap(o => [o, ...names.filter(n => kInside[n] === o)]);
  const full = Math.max(...runs.map(({run}) => run.step || Math.max(...run.parts.map(p => p.most))));
  const grid = html('div', 'parts', panel);
  for (const name of ordered) {
    runs.forEach(({run, r}, i) => {
      const part = run.parts.find(p => p.name === name);
      html('div', outer.includes(name) ? '' : 'inner', grid, i === 0 ? name : '');
      const track = html('div', 'track', grid);
      if (part) {
        const fill = html('div', 'fill', track);
        fill.style.width = `${Math.min(100, part.most / full * 100)}%`;
        fill.style.background = `var(--run${r})`;
        fill.style.opacity = outer.includes(name) ? 1 : 0.55;
        if (part.most > part.least * 1.001) {
          const range = html('div', 'range', track);
          range.style.left = `${part.least / full * 100}%`;
          range.style.width = `${(part.most - part.least) / full * 100}%`;
        }
      }
      const share = part && run.step ? ` · ${(part.most / run.step * 100).toFixed(1)}%` : '';
      html('div', 'value', grid, part ? `${part.most.toFixed(part.most < 10 ? 2 : 1)} ms${share}` : '–');
    });
  }
  showRanks(runs, main);
}

function drawRanks(runs, name, panel) {
  panel.replaceChildren();
  for (const {run, r} of runs) {
    const part = run.parts.find(p => p.name === name && p.ranks.length > 1);
    if (!part) continue;
    const has = part.ranks.filter(t => t > 0), mean = has.reduce((a, b) => a + b, 0) / has.length, most = Math.max(...has);
    html('p', 'help', panel, `${runs.length > 1 ? run.name + ': ' : ''}slowest rank ${part.ranks.indexOf(most)} with ${plain(+most.toPrecision(4))} ms, ` +
        `${(most / mean).toFixed(3)} times the mean`);
    const width = Math.max(300, panel.clientWidth), height = 130, left = 58, step = (width - left - 8) / part.ranks.length;
    const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, style: `height:${height}px`}, panel);
    const y = t => height - 22 - t / (most * 1.08) * (height - 32);
    for (const tick of linearTicks(0, most * 1.08, 3)) {
      svg('path', {d: `M${left} ${y(tick.at)}H${width - 8}`, stroke: 'var(--grid)'}, picture);
      svg('text', {x: left - 8, y: y(tick.at) + 4, 'text-anchor': 'end'}, picture, tick.text);
    }
    const every = Math.ceil(34 / step), bar = Math.min(46, step * 0.8);
    part.ranks.forEach((t, rank) => {
      const x = left + (rank + 0.5) * step;
      const block = svg('rect', {x: x - bar / 2, y: y(t), width: bar, height: y(0) - y(t), fill: `var(--run${r})`, rx: Math.min(3, bar / 4)}, picture);
      svg('title', {}, block, `rank ${rank}: ${plain(t)} ms`);
      if (rank % every === 0) svg('text', {x, y: height - 6, 'text-anchor': 'middle'}, picture, rank);
    });
    svg('text', {x: 2, y: height - 6}, picture, 'rank');
  }
}

function showRanks(runs, main) {
  const names = [...new Set(runs.flatMap(({run}) => run.parts.filter(p => p.ranks.length > 1).map(p => p.name)))];
  if (names.length === 0) return;
  html('h2', '', main, 'Balance of the ranks');
  const panel = html('div', 'card panel', main);
  const tools = html('div', 'tools', panel);
  const select = html('select', '', html('label', '', tools, 'milliseconds a step in'));
  for (const name of names) html('option', '', select, name);
  const picture = html('div', '', panel);
  select.onchange = () => drawRanks(runs, select.value, picture);
  select.onchange();
}

function row(parent, cells, tag = 'td') {
  const line = html('tr', '', parent);
  for (const [text, className] of cells) html(tag, className, line, text);
  return line;
}

function showTransfers(data, main) {
  const all = data.runs.flatMap((run, r) => run.transfers.map(t => ({...t, run, r})));
  if (all.length === 0) return;
  html('h2', '', main, 'Saves and loads');
  const table = html('table', '', html('div', 'card panel', main));
  const number = (value, digits) => value === null ? '' : value.toFixed(digits);
  row(table, [['', ''], ['iteration', 'number'], ['seconds', 'number'], ['GB', 'number'], ['GB/s', 'number'],
              ['training waited, s', 'number'], ['at', '']], 'th');
  for (const t of all.slice(-40)) {
    const rate = t.bytes !== null && t.seconds > 0 ? t.bytes / 1e9 / t.seconds : null;
    row(table, [[t.kind + (data.runs.length > 1 ? `, ${t.run.name}` : ''), ''], [plain(t.iteration), 'number'], [number(t.seconds, 2), 'number'],
                [t.bytes === null ? '' : plain(+(t.bytes / 1e9).toPrecision(3)), 'number'],
                [rate === null ? '' : plain(+rate.toPrecision(3)), 'number'], [number(t.waited, 2), 'number'], [t.time.slice(0, 19), '']]);
  }
}

function showOptions(data, main) {
  if (data.options.length === 0) return;
  const two = data.runs.length > 1;
  html('h2', '', main, 'Configuration');
  const panel = html('div', 'card panel', main);
  const tools = html('div', 'tools', panel);
  const search = html('input', '', tools);
  search.type = 'search';
  search.placeholder = 'part of a name';
  const only = html('input', '', html('label', '', tools));
  only.type = 'checkbox';
  only.checked = two;
  only.parentNode.append(`only what differs (${data.options.filter(o => o.differ).length} of ${data.options.length})`);
  only.parentNode.hidden = !two;
  if (!two) only.parentNode.style.display = 'none';
  const table = html('table', '', panel);
  const show = () => {
    table.replaceChildren();
    row(table, [['', ''], ...data.runs.map(run => [two ? run.name : 'value', ''])], 'th');
    for (const option of data.options) {
      if (!option.name.includes(search.value.trim().replaceAll('-', '_')) || (only.checked && !option.differ)) continue;
      const line = row(table, [[option.name, ''], ...option.values.map(v => v === null ? ['not told', 'absent'] : [v, ''])]);
      if (option.differ && !only.checked) line.className = 'differ';
    }
  };
  search.oninput = only.onchange = show;
  show();
}

function showPage() {
  const wish = window.location.hash;
  const dark = wish.includes('dark') || (!wish.includes('light') && window.matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  const data = JSON.parse(document.getElementById('data').textContent);
  const main = document.querySelector('main');
  main.replaceChildren();
  showHead(data, main);
  showCharts(data, main);
  showParts(data, main);
  showTransfers(data, main);
  showOptions(data, main);
}

showPage();
