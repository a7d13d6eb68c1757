'use strict';
// Numbers as texts, marks of axes, elements of the page: what all pictures share.

const kSvg = 'http://www.w3.org/2000/svg';

function svg(tag, attributes, parent, text) {
  const node = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

function html(tag, className, parent, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

// Seven digits at most, as a person reads them.
function plain(value) {
  if (value === null || value === undefined || !isFinite(value)) return 'NaN';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(4).replace(/\.?0+e/, 'e').replace('e+', 'e');
  return value.toLocaleString('en-US', {maximumSignificantDigits: size >= 1000 ? 7 : 6});
}

// For the marks of an axis that are `step` apart, the greatest of them `most`: one unit for all.
function tickText(value, step, most = Math.abs(value)) {
  if (value === 0) return '0';
  if (most < 1e-2) return value.toExponential(1).replace('.0e', 'e');
  const [base, letter] = [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']].find(([unit]) => most >= 10 * unit || most >= 1e6 && most >= unit) || [1, ''];
  return (value / base).toFixed(Math.max(0, Math.min(6, Math.ceil(-Math.log10(step / base) - 1e-9)))) + letter;
}

// Marks at round numbers, about `count` of them.
function linearTicks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw * 0.7);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) {
    ticks.push({at: i * step, text: tickText(i * step, step, Math.max(Math.abs(low), Math.abs(high)))});
  }
  return ticks;
}

function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks(low, high, count).filter(t => t.at > 0);
  const factors = decades < 2.5 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / count));
  const ticks = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high) + 1e-9; ++p) {
    if (factors.length === 1 && ((p % stride) + stride) % stride !== 0) continue;
    for (const f of factors) {
      const at = f * Math.pow(10, p);
      if (at >= low * 0.999 && at <= high * 1.001) ticks.push({at, text: tickText(at, at)});
    }
  }
  return ticks;
}

// The first place in ascending `xs` that is not below x.
function lowerBound(xs, x) {
  let low = 0, high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1; else high = middle;
  }
  return low;
}

function interpolate(xs, ys, x) {
  if (xs.length === 0) return x;
  const i = Math.min(xs.length - 1, Math.max(1, lowerBound(xs, x)));
  if (xs.length === 1) return ys[0];
  const part = (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
  return ys[i - 1] + part * (ys[i] - ys[i - 1]);
}
