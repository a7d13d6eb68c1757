// Curves over the iterations of a run or two: drawn as SVG, with values under the pointer and zoom by dragging.

const kMarkers = ['circle', 'square', 'diamond', 'triangle'];

// What the horizontal axis can count, and the way from iterations there.
const kAxes = {
  iteration: {title: 'iteration', of: (run, i) => i, has: () => true},
  samples: {title: 'samples', of: (run, i) => interpolate(run.axes.iteration, run.axes.samples, i), has: run => !!run.axes.samples},
  tokens: {
    title: 'tokens', of: (run, i) => run.axes.tokens * interpolate(run.axes.iteration, run.axes.samples, i), has: run => !!run.axes.tokens
  },
  hours: {
    title: 'hours of steps', of: (run, i) => interpolate(run.axes.iteration, run.axes.hours, i),
    has: run => run.axes.hours.some(h => h > 0)
  },
};

const view = {axis: 'iteration', range: null, logLoss: false, charts: []};

function redraw() {
  for (const chart of view.charts) chart.draw();
}

// The curves of a chart: {run, r, what, label, color, iterations, ys, dash} and for some faint, isMean or a marker.
function linesOf(chart, data) {
  const lines = [];
  data.runs.forEach((run, r) => {
    chart.series.forEach((name, s) => {
      const curve = run.series[name];
      if (!curve) return;
      const many = chart.series.length > 1;
      const color = many ? `var(--set${s % 4})` : `var(--run${r})`;
      const what = many ? name.replace('part ', '') : chart.kind === 'loss' ? 'training' : chart.title.toLowerCase();
      const label = what + (data.runs.length > 1 ? `, ${run.name}` : '');
      const base = {run, r, what, color, iterations: curve.x, dash: many && r === 1 ? '5 3' : ''};
      if (curve.mean) {
        lines.push({...base, label, ys: curve.y, faint: true});
        lines.push({...base, label: `${label}, mean`, ys: curve.mean, isMean: true});
      } else {
        lines.push({...base, label, ys: curve.y});
      }
    });
    if (chart.kind !== 'loss') return;
    Object.entries(run.evaluations).forEach(([set, points], s) => {
      lines.push({
        run, r, what: set, label: set + (data.runs.length > 1 ? `, ${run.name}` : ''), iterations: points.x, ys: points.y,
        color: data.runs.length > 1 ? `var(--run${r})` : `var(--set${s % 4})`, marker: kMarkers[s % 4], dash: '4 3'
      });
    });
  });
  return lines;
}

function markerPath(kind, x, y, r = 3.6) {
  switch (kind) {
    case 'square': return `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`;
    case 'diamond': return `M${x} ${y - r - 1}l${r + 1} ${r + 1}l${-r - 1} ${r + 1}l${-r - 1} ${-r - 1}z`;
    case 'triangle': return `M${x} ${y - r - 1}l${r + 1} ${2 * r}h${-2 * r - 2}z`;
    default: return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  }
}

class ChartView {
  constructor(chart, data, parent) {
    Object.assign(this, {chart, data, lines: linesOf(chart, data)});
    this.box = html('section', `card chart${chart.kind === 'loss' ? ' wide' : ''}`, parent);
    const head = html('div', 'head', this.box);
    html('h3', '', head, chart.title);
    html('span', 'unit', head, chart.unit);
    const legend = html('div', 'legend', head);
    this.legendOfLines(legend);
    if (chart.kind === 'loss') this.legendOfMarks(legend);
    if (chart.help) html('p', 'help', this.box, chart.help + (this.peak() ? ` On the right the share of ${plain(this.peak())}, the peak.` : ''));
    this.svg = svg('svg', {class: 'plot', role: 'img', 'aria-label': chart.title}, this.box);
    this.tip = html('div', 'tip', this.box);
    this.tip.hidden = true;
    this.listen();
  }

  // Where two runs are drawn, what tells the runs apart and what tells the curves of one apart are told one after the other.
  legendOfLines(legend) {
    const named = this.lines.filter(line => !line.isMean);
    const runs = [...new Set(named.map(line => line.run))], own = [...new Set(named.map(line => line.what))];
    if (runs.length < 2 || own.length < 2) {
      if (named.length > 1) named.forEach(line => this.legendEntry(legend, {...line, label: runs.length > 1 ? line.run.name : line.what}));
      return;
    }
    const many = this.chart.series.length > 1;
    runs.forEach((run, i) => this.legendEntry(
        legend, {color: many ? 'var(--ink)' : `var(--run${named.find(line => line.run === run).r})`, dash: many && i > 0 ? '5 3' : '', label: run.name}));
    for (const what of own) {
      const line = named.find(one => one.what === what);
      if (many || line.marker) this.legendEntry(legend, {...line, color: many ? line.color : 'var(--faint)', dash: many ? '' : line.dash, label: what});
    }
  }

  legendEntry(legend, line) {
    const entry = html('span', '', legend);
    const picture = svg('svg', {width: 18, height: 12, style: 'width:18px;display:inline'}, entry);
    svg('path', {d: 'M0 6h18', stroke: line.color, 'stroke-width': 2, 'stroke-dasharray': line.dash, fill: 'none'}, picture);
    if (line.marker) svg('path', {d: markerPath(line.marker, 9, 6), fill: line.color}, picture);
    entry.append(line.label);
  }

  legendOfMarks(legend) {
    const all = kind => this.data.runs.some(run => run.marks[kind].length > 0);
    const entry = (kind, d, color, dash, text) => {
      if (!all(kind)) return;
      const span = html('span', '', legend);
      const picture = svg('svg', {width: 8, height: 12, style: 'width:8px;display:inline'}, span);
      svg('path', {d, stroke: color, 'stroke-width': 1.6, 'stroke-dasharray': dash, fill: 'none'}, picture);
      span.append(text);
    };
    entry('seams', 'M4 0v12', 'var(--faint)', '3 2', 'went on after an end');
    entry('skipped', 'M4 3v9', 'var(--bad)', '', 'skipped');
    entry('nan', 'M1 3l6 6m0 -6l-6 6', 'var(--bad)', '', 'not a number');
    entry('scale', 'M1 4l3 5l3 -5', 'var(--set2)', '', 'loss scale fell');
    entry('saves', 'M4 6v6', 'var(--faint)', '', 'saved');
  }

  x(line, iteration) { return kAxes[view.axis].of(line.run, iteration); }

  // The points of each line in units of the axis; as they are drawn, so that hovering finds the same.
  measure() {
    for (const line of this.lines) line.xs = line.iterations.map(i => this.x(line, i));
    let low = Infinity, high = -Infinity;
    for (const run of this.data.runs) {
      const its = run.axes.iteration;
      if (its.length === 0) continue;
      low = Math.min(low, kAxes[view.axis].of(run, its[0]));
      high = Math.max(high, kAxes[view.axis].of(run, its[its.length - 1]));
    }
    for (const {xs} of this.lines) {
      if (xs.length > 0) { low = Math.min(low, xs[0]); high = Math.max(high, xs[xs.length - 1]); }
    }
    if (!(high > low)) { high = low + 1; low -= 1; }
    return view.range || [low, high];
  }

  limits([x0, x1]) {
    const values = [];
    for (const line of this.lines) {
      const end = lowerBound(line.xs, x1 + (x1 - x0) * 1e-9);
      for (let i = lowerBound(line.xs, x0); i < end; ++i) if (line.ys[i] !== null) values.push(line.ys[i]);
    }
    this.isLog = this.chart.kind === 'loss' ? view.logLoss : this.chart.log;
    const counted = this.isLog ? values.filter(v => v > 0) : values;
    if (counted.length === 0) return [this.isLog ? 0.1 : 0, 1];
    counted.sort((a, b) => a - b);
    let low = counted[0], high = counted[counted.length - 1];
    this.cutAbove = null;
    const most = counted[Math.floor((counted.length - 1) * 0.97)];
    // The first step of a start takes so long that nothing else would be seen.
    if ((this.chart.unit === 'ms') && high > 3 * most && most > 0) { this.cutAbove = high; high = most * 1.15; }
    if (this.isLog) return high > low ? [low / Math.pow(high / low, 0.05), high * Math.pow(high / low, 0.05)] : [low / 2, high * 2];
    if (low > 0 && low < 0.5 * high && this.chart.kind !== 'loss') low = 0;
    const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low === 0 ? 0 : low - pad, high + pad];
  }

  draw() {
    const width = Math.max(240, this.svg.clientWidth || this.box.clientWidth - 28);
    const height = this.chart.kind === 'loss' ? 340 : 240;
    const peak = this.peak();
    const frame = {left: 58, right: width - (peak ? 46 : 22), top: 12, bottom: height - 38};
    this.range = this.measure();
    const [x0, x1] = this.range, [y0, y1] = this.limits(this.range);
    const up = v => this.isLog ? Math.log(v) : v;
    this.px = x => frame.left + (x - x0) / (x1 - x0) * (frame.right - frame.left);
    this.py = y => frame.bottom - (up(y) - up(y0)) / (up(y1) - up(y0)) * (frame.bottom - frame.top);
    this.frame = frame;
    this.svg.replaceChildren();
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    const clip = `clip${view.charts.indexOf(this)}`;
    svg('rect', {x: frame.left, y: frame.top - 2, width: frame.right - frame.left, height: frame.bottom - frame.top + 4},
        svg('clipPath', {id: clip}, svg('defs', {}, this.svg)));
    this.grid([x0, x1], [y0, y1], peak);
    const inside = svg('g', {'clip-path': `url(#${clip})`}, this.svg);
    this.marks(inside);
    const above = svg('g', {}, this.svg);  // shapes are whole at the ends as well
    for (const line of this.lines) this.drawLine(line, inside, above);
    if (this.cutAbove !== null)
      svg('text', {x: frame.right - 4, y: frame.top + 12, 'text-anchor': 'end', class: 'over'}, this.svg, `up to ${plain(+this.cutAbove.toPrecision(4))}`);
    this.overlay = svg('g', {}, this.svg);
  }

  // Of one device, where the runs agree on it.
  peak() {
    if (this.chart.kind !== 'throughput') return null;
    const known = this.data.peaks.filter(p => p !== null);
    return known.length > 0 && known.every(p => p === known[0]) ? known[0] : null;
  }

  grid(xs, [y0, y1], peak) {
    const f = this.frame;
    const rows = (f.bottom - f.top) / 44, columns = (f.right - f.left) / 95;
    const ticks = this.isLog ? logTicks(y0, y1, rows) : linearTicks(y0, y1, rows);
    for (const tick of ticks) {
      const y = this.py(tick.at);
      svg('path', {d: `M${f.left} ${y}H${f.right}`, stroke: 'var(--grid)'}, this.svg);
      svg('text', {x: f.left - 8, y: y + 4, 'text-anchor': 'end'}, this.svg, tick.text);
    }
    if (peak) {
      for (const tick of linearTicks(y0 / peak * 100, y1 / peak * 100, rows))
        svg('text', {x: f.right + 6, y: this.py(tick.at * peak / 100) + 4}, this.svg, `${tick.text}%`);
    }
    for (const tick of linearTicks(xs[0], xs[1], columns)) {
      const x = this.px(tick.at);
      svg('path', {d: `M${x} ${f.bottom}v4`, stroke: 'var(--faint)'}, this.svg);
      svg('text', {x, y: f.bottom + 17, 'text-anchor': 'middle'}, this.svg, tick.text);
    }
    svg('path', {d: `M${f.left} ${f.bottom}H${f.right}`, stroke: 'var(--line)'}, this.svg);
    svg('text', {x: f.right, y: f.bottom + 33, 'text-anchor': 'end'}, this.svg, kAxes[view.axis].title);
  }

  marks(parent) {
    const f = this.frame;
    this.data.runs.forEach((run, r) => {
      const at = i => this.px(kAxes[view.axis].of(run, i));
      for (const seam of run.marks.seams)
        svg('path', {d: `M${at(seam.iteration)} ${f.top}V${f.bottom}`, stroke: `var(--run${r})`, 'stroke-dasharray': '3 4', opacity: 0.6}, parent);
      if (this.chart.kind !== 'loss') return;
      const each = (list, d, color) => {
        if (list.length > 0) svg('path', {d: list.map(i => d(at(i))).join(''), stroke: color, 'stroke-width': 1.4, fill: 'none'}, parent);
      };
      each(run.marks.saves, x => `M${x} ${f.bottom - 6}v6`, 'var(--faint)');
      each(run.marks.skipped, x => `M${x} ${f.bottom - 12}v12`, 'var(--bad)');
      each(run.marks.scale, x => `M${x - 3} ${f.bottom - 20}l3 5l3 -5`, 'var(--set2)');
      each(run.marks.nan, x => `M${x - 3} ${f.top}l6 6m0 -6l-6 6`, 'var(--bad)');
    });
  }

  // Of each pixel the least and the greatest, so that no spike is lost.
  drawLine(line, parent, above) {
    const {xs, ys} = line;
    const begin = Math.max(0, lowerBound(xs, this.range[0]) - 1), end = Math.min(xs.length, lowerBound(xs, this.range[1]) + 1);
    let d = '', pen = false, pixel = null, low = null, high = null, first = null, last = null;
    const dots = [];
    const to = (x, y) => { d += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`; pen = true; };
    const flush = () => {
      if (pixel === null) return;
      for (const y of [...new Set([first, high, low, last])]) to(pixel, y);
      pixel = null;
    };
    const dense = end - begin > 2 * (this.frame.right - this.frame.left);
    for (let i = begin; i < end; ++i) {
      const bad = ys[i] === null || (this.isLog && ys[i] <= 0);
      if (bad) { flush(); pen = false; continue; }
      const x = this.px(xs[i]), y = Math.max(-1e5, Math.min(1e5, this.py(ys[i])));
      if (line.marker) dots.push([x, y]);
      const alone = (i === 0 || ys[i - 1] === null) && (i + 1 === ys.length || ys[i + 1] === null);
      if (alone && !line.marker) dots.push([x, y]);
      if (!dense) { to(x, y); continue; }
      if (Math.round(x) !== pixel) { flush(); pixel = Math.round(x); first = low = high = y; }
      low = Math.min(low, y); high = Math.max(high, y); last = y;
    }
    flush();
    const faint = line.faint ? 0.32 : 1;
    if (d) svg('path', {d, fill: 'none', stroke: line.color, 'stroke-width': line.faint ? 1.1 : 1.8, 'stroke-linejoin': 'round',
                        'stroke-dasharray': line.dash || '', opacity: faint}, parent);
    if (line.marker && dots.length > 80) return;
    const f = this.frame;
    for (const [x, y] of dots) {
      if (x < f.left - 1 || x > f.right + 1 || y < f.top - 2 || y > f.bottom + 2) continue;
      svg('path', {d: markerPath(line.marker, x, y), fill: line.color, stroke: 'var(--card)'}, above);
    }
  }

  listen() {
    const at = event => {
      const box = this.svg.getBoundingClientRect();
      const [x0, x1] = this.range, f = this.frame;
      const px = Math.max(f.left, Math.min(f.right, event.clientX - box.left));
      return x0 + (px - f.left) / (f.right - f.left) * (x1 - x0);
    };
    let from = null;
    this.svg.addEventListener('pointerdown', event => {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      from = at(event);
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener('pointermove', event => {
      for (const chart of view.charts) chart.point(at(event), chart === this, from);
    });
    this.svg.addEventListener('pointerup', event => {
      const to = at(event), begin = from;
      from = null;
      if (begin !== null && Math.abs(this.px(to) - this.px(begin)) > 6) zoom([Math.min(begin, to), Math.max(begin, to)]);
    });
    this.svg.addEventListener('pointerleave', () => {
      for (const chart of view.charts) { chart.overlay.replaceChildren(); chart.tip.hidden = true; }
    });
    this.svg.addEventListener('dblclick', () => zoom(null));
  }

  // The values nearest to x; `tells`: in a box beside the pointer. `from`: where a drag began.
  point(x, tells, from) {
    const f = this.frame;
    this.overlay.replaceChildren();
    const px = this.px(x);
    if (from !== null && tells) {
      const other = this.px(from);
      svg('rect', {x: Math.min(px, other), y: f.top, width: Math.abs(px - other), height: f.bottom - f.top, fill: 'var(--run0)', opacity: 0.12},
          this.overlay);
    }
    svg('path', {d: `M${px} ${f.top}V${f.bottom}`, stroke: 'var(--faint)', 'stroke-dasharray': '2 3'}, this.overlay);
    this.tip.hidden = !tells;
    this.tip.replaceChildren();
    let where = '';
    for (const line of this.lines) {
      const i = nearest(line.xs, x);
      if (i === null) continue;
      const y = line.ys[i];
      if (y !== null && !(this.isLog && y <= 0)) {
        const py = this.py(y);
        if (py >= f.top && py <= f.bottom) svg('circle', {cx: this.px(line.xs[i]), cy: py, r: 4, fill: line.color, stroke: 'var(--card)'}, this.overlay);
      }
      if (!tells) continue;
      if (!where) where = html('div', 'where', this.tip, whereText(line.run, line.iterations[i]));
      const row = html('div', '', this.tip);
      html('span', 'swatch', row).style.background = line.color;
      const far = line.iterations[i] !== this.lines[0].iterations[nearest(this.lines[0].xs, x) ?? 0];
      row.append(line.label + (far ? ` (${plain(line.iterations[i])})` : ''));
      html('span', 'value', row, plain(y));
    }
    if (!tells) return;
    if (!where) { this.tip.hidden = true; return; }
    const left = px + 16 + this.tip.offsetWidth > f.right ? px - this.tip.offsetWidth - 2 : px + 26;
    this.tip.style.left = `${Math.max(2, left)}px`;
    this.tip.style.top = `${this.svg.getBoundingClientRect().top - this.box.getBoundingClientRect().top + f.top + 6}px`;
  }
}

function nearest(xs, x) {
  if (!xs || xs.length === 0) return null;
  const i = lowerBound(xs, x);
  if (i === 0) return 0;
  return i === xs.length || x - xs[i - 1] < xs[i] - x ? i - 1 : i;
}

function whereText(run, iteration) {
  const parts = [`iteration ${plain(iteration)}`];
  if (run.axes.tokens) parts.push(`${tickText(kAxes.tokens.of(run, iteration), kAxes.tokens.of(run, iteration) / 100)} tokens`);
  if (kAxes.hours.has(run)) {
    const hours = kAxes.hours.of(run, iteration);
    parts.push(hours >= 1 ? `${hours.toFixed(2)} h` : hours * 60 >= 1 ? `${(hours * 60).toFixed(1)} min` : `${(hours * 3600).toFixed(1)} s`);
  }
  return parts.join(' · ');
}

function zoom(range) {
  view.range = range;
  document.getElementById('whole').hidden = range === null;
  redraw();
}
