// The wall: counts every half minute, the waterfall every two seconds; panels take turns where they do not all fit.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";

const COUNTS_MS = 30_000, FALL_MS = 2_000, TURN_MS = 15_000, SILENT_MS = 10 * 60_000;
const wall = document.getElementById("wall");
const panels = document.getElementById("panels");
const fall = document.getElementById("fall");
const drops = document.getElementById("drops");
const hold = document.getElementById("hold");
const trouble = document.getElementById("trouble");
const turning = ["volume", "moods", "rises"].map((id) => document.getElementById(id));
const query = wall.dataset.query;
const signs = { negative: ["▼", "neg"], neutral: ["●", "neu"], positive: ["▲", "pos"] };
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

function make(name, content = "", className = "") { return Object.assign(document.createElement(name), { textContent: content, className }); }
function drawn(name, values) {
  const found = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(values)) found.setAttribute(key, value);
  return found;
}
function signed(value) { const whole = Math.round(value); return `${whole > 0 ? "+" : whole < 0 ? "−" : ""}${number.format(Math.abs(whole))}`; }
const at = (iso) => (Date.now() - Date.parse(iso) < 82_800_000 ? clock : day).format(Date.parse(iso));
const search = (more) => `/search?${new URLSearchParams(more)}`;

// --- the counts ---------------------------------------------------------------------------------------------------

function showOngoing(found) {
  const place = document.getElementById("ongoing");
  if (!found.length) {
    const none = make("li", "", "none");
    none.append(make("span", "✓", "pos"), " No open incident");
    place.replaceChildren(none);
    return;
  }
  place.replaceChildren(...found.map((one) => {
    const item = make("li");
    const link = Object.assign(make("a", "", one.word), { href: `/alerts/incidents/${one.id}` });
    const sign = { critical: "◆", serious: "▲", slight: "●", over: "○" }[one.word];
    const figures = one.observed || one.expected ? `${number.format(one.observed)}, expected ${tenth.format(one.expected)}` : one.title;
    const how = one.over ? "over" : one.trend;
    const name = make("span", "", "name");
    name.append(make("bdi", one.what), ` · ${one.word}`);
    link.append(make("b", `${one.severity || "–"} ${sign}`), name, make("span", `${figures} · since ${at(one.since)} · ${how}${one.status === "acknowledged" ? ", acknowledged" : ""}`, "said"));
    item.append(link);
    return item;
  }));
}

function showTones(hour) {
  document.getElementById("tones").replaceChildren(...["negative", "neutral", "positive"].map((tone) => {
    const found = make("span", "", signs[tone][1]);
    found.append(Object.assign(make("span", signs[tone][0], "sign"), { ariaHidden: "true" }), ` ${number.format(hour[tone])}`, make("span", ` ${tone}`, "hidden"));
    return found;
  }));
}

function showCourse({ times, counted, low, high, gaps, running }) {
  const last = counted.at(-1);
  // In the first ten minutes of an hour the whole one before says more.
  const begun = Date.now() - Date.parse(running.since) >= 600_000;
  const [told, from, to] = begun ? [running.counted, running.low, running.high] : [last, low.at(-1), high.at(-1)];
  const figure = document.getElementById("hour-figure");
  figure.replaceChildren(number.format(told));
  if (from !== null) figure.append(make("span", ` of ${number.format(from)}–${number.format(to)} expected`, "of"));
  const verdict = from === null ? "too little is known yet to say what is usual" : told > to ? "▲ more than expected" : told < from ? "▼ fewer than expected" : "● as expected";
  document.getElementById("hour-words").textContent = begun ? `since ${at(running.since)}, so far: ${verdict}` : `from ${clock.format(times.at(-1))} to ${clock.format(times.at(-1) + 3_600_000)}: ${verdict}`;
  const place = document.getElementById("course");
  const [wide, tall] = [Math.max(320, place.clientWidth), Math.max(140, place.clientHeight)];
  const size = Math.max(14, wide / 48);
  const floor = tall - size * 1.6;
  const top = Math.max(1, ...counted, ...high.map((value) => value ?? 0));
  const x = (index) => (index / Math.max(1, times.length - 1)) * (wide - size * 4) + size * 3;
  const y = (value) => floor - (value / top) * (floor - size);
  const of = (ms) => x((ms - times[0]) / 3_600_000);
  const picture = drawn("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": `Mentions of the last ${times.length} hours, ${number.format(last)} in the last whole one` });
  const known = times.map((_, index) => index).filter((index) => high[index] !== null);
  if (known.length) picture.append(drawn("polygon", { class: "band", points: [...known.map((index) => `${x(index)},${y(high[index])}`), ...known.reverse().map((index) => `${x(index)},${y(low[index])}`)].join(" ") }));
  for (const gap of gaps) {
    const [begin, end] = [Math.max(times[0], gap.since), Math.min(times.at(-1), gap.until)];
    if (end > begin) picture.append(drawn("rect", { class: "gap", x: of(begin), width: Math.max(2, of(end) - of(begin)), y: size, height: floor - size }));
  }
  picture.append(drawn("line", { class: "axis", x1: size * 3, x2: wide - size, y1: floor, y2: floor }));
  picture.append(drawn("polyline", { class: "line", "stroke-width": Math.max(2.5, size / 6), points: counted.map((value, index) => `${x(index)},${y(value)}`).join(" ") }));
  picture.append(drawn("circle", { class: "now", cx: x(times.length - 1), cy: y(last), r: size / 3 }));
  const label = (text, left, base, anchor) => { const found = drawn("text", { x: left, y: base, "text-anchor": anchor, "font-size": size }); found.textContent = text; picture.append(found); };
  label(number.format(top), size * 2.6, size * 1.3, "end");
  label("0", size * 2.6, floor, "end");
  for (let index = 0; index < times.length; index += 6) label(clock.format(times[index]), x(index), tall - size * 0.3, "middle");
  place.replaceChildren(picture);
}

function showMoods(found) {
  const place = document.getElementById("mood-list");
  if (!found.length) { place.replaceChildren(make("li", "No brand was spoken of.", "small-words")); return; }
  place.replaceChildren(...found.map((one, index) => {
    const item = make("li", "", one.brand === "industry" && index === found.length - 1 ? "industry" : "");
    const [sign, kind] = one.low > 0 ? signs.positive : one.high < 0 ? signs.negative : signs.neutral;
    const value = make("span", `${sign} ${signed(one.net)}`, `value ${kind}`);
    value.append(make("span", ` n ${number.format(one.mentions)}`, "of"));
    const picture = drawn("svg", { viewBox: "-100 0 200 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(drawn("rect", { class: one.net < 0 ? "neg" : "pos", x: Math.min(0, one.net), width: Math.abs(one.net), y: 1, height: 8 }),
      drawn("line", { class: "zero", x1: 0, x2: 0, y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" }),
      drawn("line", { class: "may", x1: one.low, x2: one.high, y1: 5, y2: 5, "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }));
    item.append(make("bdi", one.brand, "name"), value, picture);
    return item;
  }));
}

function showRising({ rising, rising_since: since, compared_days: days, at: until }) {
  const place = document.getElementById("rising");
  document.getElementById("rising-words").textContent = days ? `topics of the last hour, against the same hour of ${days === 1 ? "the day" : `the ${days} days`} before (grey)` : "there is no day before to compare with yet";
  if (!rising.length) { place.replaceChildren(make("li", "Nothing stands out.", "small-words")); return; }
  const most = Math.max(...rising.map((one) => Math.max(one.observed, one.expected)));
  place.replaceChildren(...rising.map((one) => {
    const item = make("li");
    const name = Object.assign(make("a", one.title, "name"), { href: search({ q: `${query ? `(${new URLSearchParams(query).get("q")}) ` : ""}topic:${one.topic}`, since, until }) });
    const value = make("span", number.format(one.observed), "value");
    value.append(make("span", ` usually ${tenth.format(one.expected)}`, "of"));
    const picture = drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(drawn("rect", { class: "amount", x: 0, width: (100 * one.observed) / most, y: 0, height: 6 }), drawn("rect", { class: "usual", x: 0, width: (100 * one.expected) / most, y: 7, height: 3 }));
    item.append(name, value, picture);
    return item;
  }));
}

function showSources(found) {
  document.getElementById("sources-now").replaceChildren(...found.map((one) => {
    const item = make("li", "", one.silent ? "silent" : "live");
    item.append(Object.assign(make("span", one.silent ? "◌ " : "● ", "sign"), { ariaHidden: "true" }), one.name, one.silent ? ` silent since ${one.silent_since ? at(one.silent_since) : "ever"}` : "");
    return item;
  }));
}

function tellTrouble(text, all) {
  trouble.textContent = text;
  trouble.hidden = !text;
  panels.querySelectorAll("section").forEach((panel) => panel.classList.toggle("stale", Boolean(text) && (all || panel === fall)));
}

let newest = 0;
let counts = null;
async function showCounts() {
  try {
    counts = await ask(`/api/v1/wall?${query}`);
    showOngoing(counts.incidents);
    showTones(counts.hour);
    showCourse(counts.volume);
    showMoods(counts.moods);
    showRising(counts);
    showSources(counts.sources);
    newest = counts.newest ? Date.parse(counts.newest) : 0;
    const old = Date.now() - newest > SILENT_MS;
    const dead = counts.sources.length > 0 && counts.sources.every((one) => one.silent);
    tellTrouble(dead ? `No source answers${newest ? `; the newest mention was collected ${at(counts.newest)}` : ""}.` : old ? (newest ? `Nothing new since ${at(counts.newest)}.` : "No mention was collected yet.") : "", dead);
  } catch (error) { tellTrouble(`${error.message} What is shown is ${counts ? `of ${clock.format(Date.parse(counts.at))}` : "old"}.`, true); }
  wall.setAttribute("aria-busy", "false");
}

// --- the waterfall ------------------------------------------------------------------------------------------------

let shown = new Map();
function drop(one, fresh) {
  const [sign, kind] = signs[one.tone] ?? signs.neutral;
  const item = make("li", "", fresh ? "new" : "");
  const tone = make("span", "", kind);
  tone.append(Object.assign(make("span", sign), { ariaHidden: "true" }), make("span", one.tone, "hidden"));
  item.append(tone, make("span", one.topics[0] ?? "no topic"), make("bdi", one.brands.join(", "), "brand"));
  return item;
}

async function showFall() {
  try {
    const found = await ask(`/api/v1/wall/mentions?${query}`);
    const first = shown.size === 0;
    const next = new Map(found.map((one) => [one.key, shown.get(one.key) ?? drop(one, !first)]));
    if ([...next.keys()].join() !== [...shown.keys()].join()) drops.replaceChildren(...next.values());
    shown = next;
  } catch { /* showCounts tells what is wrong */ }
}

// --- taking turns -------------------------------------------------------------------------------------------------

let turn = 0;
let held = matchMedia("(prefers-reduced-motion: reduce)").matches;
const room = () => (innerWidth < 900 ? "stack" : innerWidth >= 1700 && innerHeight >= 800 ? "all" : "turn");

function arrange() {
  const how = room();
  panels.classList.toggle("all", how === "all");
  turning.forEach((panel, index) => {
    panel.hidden = how === "turn" && index !== turn;
    panel.classList.toggle("alone", how === "turn");
    panel.classList.toggle("turned", how === "turn" && index === turn);
  });
  hold.hidden = how !== "turn";
  hold.textContent = held ? "Let them turn" : "Hold";
  hold.setAttribute("aria-pressed", String(held));
  document.getElementById("dots").textContent = how === "turn" ? turning.map((_, index) => (index === turn ? "●" : "○")).join("") : "";
  if (counts) showCourse(counts.volume);
}

function step(by) { turn = (turn + by + turning.length) % turning.length; arrange(); }
function toggleHold() { held = !held; arrange(); }
function toggleFull() { if (document.fullscreenElement) document.exitFullscreen(); else wall.requestFullscreen().catch(() => {}); }

hold.addEventListener("click", toggleHold);
document.getElementById("full").addEventListener("click", toggleFull);
onKey("p", toggleHold);
onKey("F", toggleFull);
onKey("ArrowRight", () => step(1));
onKey("ArrowLeft", () => step(-1));
addEventListener("resize", arrange);
document.addEventListener("fullscreenchange", () => {
  document.getElementById("full").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
  arrange();
});
const tick = () => { document.getElementById("clock").textContent = clock.format(Date.now()); };
setInterval(tick, 5_000);
setInterval(() => { if (!document.hidden) showCounts(); }, COUNTS_MS);
setInterval(() => { if (!document.hidden) showFall(); }, FALL_MS);
setInterval(() => { if (!held && !document.hidden && room() === "turn") step(1); }, TURN_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { showCounts(); showFall(); } });
tick();
arrange();
showCounts();
showFall();
