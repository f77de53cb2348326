// Charts: lines or bars over time, with gaps hatched, a band of what was expected, labels at the lines' ends, and
// points that lead to their mentions. Draws every figure.chart from the JSON inside it:
//   { "title": "Mentions", "times": [ms, …], "kind": "line" | "bar",
//     "series": [{ "label": "Southwest", "values": [1, null, …], "colour": 0, "links": ["/search?…", …] }],
//     "band": { "low": [...], "high": [...], "label": "expected" },
//     "gaps": [{ "since": ms, "until": ms, "label": "x: rate limited" }],
//     "notes": [{ "at": ms, "label": "storm" }], "partial": [0], "zero": true, "unit": "%" }
// `band`, `gaps`, `notes`, `partial` (places of intervals that are cut short), `links` may be left out. Figures with the same data-sync share one cursor.

import { ask } from "/static/http.js";

const LIBRARY = "/static/vendor/uPlot.iife.min.js";
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const count = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
let loading = null;

function library() {
  loading ??= new Promise((done, failed) => {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/static/vendor/uPlot.min.css" });
    const script = Object.assign(document.createElement("script"), { src: LIBRARY });
    script.addEventListener("load", () => done(window.uPlot));
    script.addEventListener("error", () => failed(new Error("The chart's library could not be loaded.")));
    document.head.append(style, script);
  });
  return loading;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: of("ink"), muted: of("muted"), line: of("line"), wash: of("wash"), card: of("card"), warning: of("warning"),
    named: { accent: of("accent"), negative: of("negative"), positive: of("positive"), neutral: of("neutral"), warning: of("warning") },
    series: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => of(`series-${number}`)),
  };
}

const stroke = (series, at, c) => (typeof series.colour === "string" ? c.named[series.colour] : c.series[(series.colour ?? at) % 8]);

export async function draw(figure, given) {
  const data = given ?? JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const plot = figure.querySelector(".plot");
  const uPlot = await library();
  figure.chart?.destroy();
  plot.replaceChildren();
  const c = colours();
  const times = data.times.map((ms) => ms / 1000);
  const bars = data.kind === "bar" ? uPlot.paths.bars({ size: [0.8, 48, 1] }) : undefined;
  const series = data.series.map((one, at) => ({
    label: one.label, stroke: stroke(one, at, c), width: 2, paths: bars, spanGaps: false,
    fill: bars ? stroke(one, at, c) : undefined, points: { show: times.length < 40 && !bars, size: 5 },
  }));
  const columns = data.series.map((one) => one.values);
  const bands = [];
  if (data.band) { // first, so that the lines stand before it
    columns.unshift(data.band.high, data.band.low);
    const edge = { stroke: "transparent", width: 0, points: { show: false }, label: "" };
    series.unshift({ ...edge }, { ...edge });
    bands.push({ series: [1, 2], fill: c.wash });
  }
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  const chart = new uPlot({
    width: Math.max(120, plot.clientWidth), height: Number(figure.dataset.height ?? 180),
    legend: { show: false }, padding: [8, endSpace(data, c), 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, ...(figure.dataset.sync ? { sync: { key: figure.dataset.sync } } : {}) },
    scales: { x: { time: true }, y: { range: (_, low, high) => span(data, low, high) } },
    axes: [
      { stroke: c.muted, grid: { show: false }, ticks: { stroke: c.line, width: 1 }, font: "12px system-ui" },
      { stroke: c.muted, grid: { stroke: c.line, width: 1 }, ticks: { show: false }, size: 48, font: "12px system-ui", values: (_, marks) => marks.map((mark) => count.format(mark) + (data.unit ?? "")) },
    ],
    series: [{}, ...series], bands,
    hooks: {
      drawAxes: [(u) => hatch(u, data.gaps ?? [], c)],
      draw: [(u) => { annotate(u, data.notes ?? [], c); name(u, data, c); }],
      setCursor: [(u) => show(u, data, tip)],
    },
  }, [times, ...columns], plot);
  chart.over.append(tip);
  chart.over.addEventListener("click", () => follow(data, chart.cursor.idx));
  chart.over.addEventListener("mouseleave", () => { tip.hidden = true; });
  chart.over.classList.toggle("linked", data.series.some((one) => one.links));
  figure.chart = chart;
  tabulate(figure, data);
}

function span(data, low, high) {
  if (low === null || high === null) return [0, 1];
  const bottom = data.zero === false ? low : Math.min(0, low);
  const top = Math.max(high, bottom === high ? bottom + 1 : high);
  return [bottom, top + (top - bottom) * 0.08];
}

function endSpace(data) {
  return data.kind === "bar" || data.series.length < 2 ? 24 : 16 + 8 * Math.max(...data.series.map((one) => one.label.length));
}

// What was not covered: hatched, so that it is seen without colour, and never mistaken for silence.
function hatch(u, gaps, c) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  for (const gap of gaps) {
    const [from, to] = [gap.since, gap.until].map((ms) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, u.valToPos(ms / 1000, "x", true))));
    if (to > from) ctx.rect(from, bbox.top, Math.max(2, to - from), bbox.height);
  }
  ctx.clip();
  ctx.strokeStyle = c.warning;
  ctx.globalAlpha = 0.45;
  ctx.beginPath();
  if (gaps.length) {
    for (let x = bbox.left - bbox.height; x < bbox.left + bbox.width; x += 8 * devicePixelRatio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
  }
  ctx.stroke();
  ctx.restore();
}

function annotate(u, notes, c) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = c.muted;
  ctx.font = `${12 * devicePixelRatio}px system-ui`;
  ctx.textAlign = "left";
  ctx.setLineDash([4, 4]);
  for (const note of notes) {
    const x = u.valToPos(note.at / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(note.label.slice(0, 40), x + 4, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

// The lines' names at their ends, moved apart where they would overlap.
function name(u, data, c) {
  if (data.kind === "bar" || data.series.length < 2) return;
  const { ctx, bbox } = u;
  const height = 14 * devicePixelRatio;
  const labels = data.series.map((one, at) => {
    const last = one.values.findLastIndex((value) => value !== null);
    return last < 0 ? null : { text: one.label, colour: stroke(one, at, c), y: u.valToPos(one.values[last], "y", true) };
  }).filter(Boolean).sort((a, b) => a.y - b.y);
  labels.forEach((label, at) => { if (at) label.y = Math.max(label.y, labels[at - 1].y + height); });
  ctx.save();
  ctx.font = `600 ${12 * devicePixelRatio}px system-ui`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  for (const label of labels) { ctx.fillStyle = label.colour; ctx.fillText(label.text, bbox.left + bbox.width + 6 * devicePixelRatio, label.y); }
  ctx.restore();
}

function show(u, data, tip) {
  const at = u.cursor.idx;
  if (at === null || at === undefined || u.cursor.left < 0) { tip.hidden = true; return; }
  const lines = [named(data, at)];
  for (const one of data.series) lines.push(`${one.label}: ${said(one.values[at], data.unit)}`);
  if (data.band && data.band.low[at] !== null) lines.push(`${data.band.label ?? "expected"}: ${said(data.band.low[at], data.unit)} – ${said(data.band.high[at], data.unit)}`);
  for (const gap of data.gaps ?? []) if (gap.since <= data.times[at] && data.times[at] < gap.until) lines.push(`not covered: ${gap.label}`);
  tip.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  tip.hidden = false;
  tip.style.top = "4px";
  tip.style.left = `${u.cursor.left > u.over.clientWidth / 2 ? u.cursor.left - tip.offsetWidth - 12 : u.cursor.left + 12}px`;
}

const named = (data, at) => day.format(data.times[at]) + (data.partial?.includes(at) ? " *" : "");

const said = (value, unit = "") => (value === null || value === undefined ? "–" : count.format(value) + unit);

function follow(data, at) {
  const link = at === null || at === undefined ? null : data.series.find((one) => one.links?.[at])?.links[at];
  if (link) location.assign(link);
}

// The same as a table, for who does not see the chart or wants the numbers; every linked number leads to its mentions.
function tabulate(figure, data) {
  const place = figure.querySelector(".alternative");
  if (!place || place.querySelector("table")) return;
  const fill = () => {
    if (!place.open || place.querySelector("table")) return;
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const title of ["Time", ...data.series.map((one) => one.label)]) head.append(Object.assign(document.createElement("th"), { textContent: title, scope: "col" }));
    const body = table.createTBody();
    data.times.forEach((_, at) => {
      const row = body.insertRow();
      row.insertCell().textContent = named(data, at);
      for (const one of data.series) {
        const cell = row.insertCell();
        cell.className = "n";
        const text = said(one.values[at], data.unit);
        if (one.links?.[at]) cell.append(Object.assign(document.createElement("a"), { href: one.links[at], textContent: text }));
        else cell.textContent = text;
      }
    });
    const scroll = Object.assign(document.createElement("div"), { className: "scroll" });
    scroll.append(table);
    place.append(scroll);
  };
  place.addEventListener("toggle", fill);
  fill(); // opened before this script was here
}

/** Save the chart as a picture. */
export function save(figure, name) {
  const canvas = figure.querySelector("canvas");
  const whole = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const ctx = whole.getContext("2d");
  ctx.fillStyle = colours().card;
  ctx.fillRect(0, 0, whole.width, whole.height);
  ctx.drawImage(canvas, 0, 0);
  whole.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name}.png` });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

/** Draw anew with what `path` of the interface returns. */
export async function refresh(figure, path) { await draw(figure, await ask(path)); }

export function drawAll() { return Promise.all([...document.querySelectorAll("figure.chart")].map((figure) => draw(figure))); }

const wide = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = target.closest("figure").chart;
    if (chart && Math.abs(chart.width - target.clientWidth) > 1) chart.setSize({ width: target.clientWidth, height: chart.height });
  }
});
await drawAll();
document.querySelectorAll("figure.chart .plot").forEach((plot) => wide.observe(plot));
document.addEventListener("theme", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
