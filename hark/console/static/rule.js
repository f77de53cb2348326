// A rule as a form, its TOML, and what it would have done.

import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

const form = document.getElementById("rule");
const toml = document.getElementById("toml");
const result = document.getElementById("result");
const button = document.getElementById("try");
const metrics = JSON.parse(form.dataset.metrics);
const usual = { direction: "", title: "", query: "", part: "", threshold: 1, window_minutes: 60, minimum_volume: 1, minimum_severity: 1, quiet_hours: "", time_zone: "UTC" };
const numbers = ["threshold", "window_minutes", "minimum_volume", "minimum_severity"];

function make(name, content = "", more = {}) { return Object.assign(document.createElement(name), { textContent: content, ...more }); }

function rule() {
  const said = new FormData(form);
  const found = { name: "", detector: "", metric: "", group_by: said.getAll("group_by").filter(Boolean), notify: said.getAll("notify") };
  for (const key of ["name", "title", "query", "metric", "part", "detector", "direction", "quiet_hours", "time_zone"]) found[key] = String(said.get(key) ?? "").trim();
  for (const key of numbers) found[key] = Number(said.get(key));
  if (found.metric !== "share") found.part = "";
  if (found.detector !== "change") found.direction = "";
  return found;
}

// JSON's strings are TOML's basic strings.
function written(found) {
  const lines = ["[[rule]]"];
  for (const key of ["name", "title", "query", "metric", "part"]) if (found[key] !== usual[key]) lines.push(`${key} = ${JSON.stringify(found[key])}`);
  if (found.group_by.length) lines.push(`group_by = ${JSON.stringify(found.group_by.length === 1 ? found.group_by[0] : found.group_by)}`);
  lines.push(`detector = ${JSON.stringify(found.detector)}`);
  for (const key of numbers) if (found[key] !== usual[key]) lines.push(`${key} = ${key === "threshold" && Number.isInteger(found[key]) ? found[key].toFixed(1) : found[key]}`);
  for (const key of ["direction", "quiet_hours", "time_zone"]) if (found[key] !== usual[key]) lines.push(`${key} = ${JSON.stringify(found[key])}`);
  if (found.notify.length) lines.push(`notify = ${JSON.stringify(found.notify)}`);
  return lines.join("\n");
}

function show() {
  const found = rule();
  toml.textContent = written(found);
  document.getElementById("part-field").hidden = found.metric !== "share";
  document.getElementById("direction-field").hidden = found.detector !== "change";
  for (const option of form.elements.detector.options) option.disabled = !metrics[option.value].includes(found.metric);
}

function mark({ key, problem } = {}) {
  form.querySelectorAll(".wrong").forEach((place) => { place.hidden = true; place.textContent = ""; });
  form.querySelectorAll("[aria-invalid]").forEach((field) => { field.removeAttribute("aria-invalid"); field.removeAttribute("aria-describedby"); });
  const place = key && document.getElementById(`wrong-${key}`);
  if (!place) return false;
  place.textContent = problem;
  place.hidden = false;
  const field = form.querySelector(`[name="${CSS.escape(key)}"]`);
  field?.setAttribute("aria-invalid", "true");
  field?.setAttribute("aria-describedby", place.id);
  field?.focus();
  return true;
}

const minutes = (seconds) => (seconds === null ? "–" : Math.abs(seconds) < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
const whole = (iso) => make("time", iso, { dateTime: iso });
const rate = (value) => (value === null ? "–" : value.toFixed(2));

function table(heads, rows, className = "") {
  const found = make("table", "", { className });
  const head = found.createTHead().insertRow();
  for (const [title, kind] of heads) head.append(make("th", title, { className: kind, scope: "col" }));
  const body = found.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    cells.forEach((cell, at) => { const td = row.insertCell(); td.className = heads[at][1]; td.append(cell ?? "–"); });
  }
  const scroll = make("div", "", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: heads[0][0] });
  scroll.append(found);
  return scroll;
}

function bar(value, most) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("class", "amount");
  picture.setAttribute("viewBox", "0 0 120 8");
  picture.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  rect.setAttribute("width", String(most ? (120 * value) / most : 0));
  rect.setAttribute("height", "8");
  picture.append(rect);
  return picture;
}

function alertOf(one) {
  const item = make("li", "", { className: "would" });
  const line = make("p");
  const series = make("bdi"); series.append(make("b", one.title));
  line.append(whole(one.told_at), " ", series, ` severity ${one.severity}${one.worst > one.severity ? `, up to ${one.worst}` : ""}${one.again ? `, told again ${one.again} times` : ""}`);
  const link = make("a", `${one.observed} observed`, { href: `/search?${new URLSearchParams({ q: one.query, since: one.since, until: one.until })}` });
  const figures = make("p", "", { className: "small muted" });
  figures.append(link, `, ${one.expected.toFixed(2)} expected in ${minutes((Date.parse(one.until) - Date.parse(one.since)) / 1000)}`);
  if (one.topics.length) {
    const topics = make("bdi", one.topics.map((part) => `${part.value} ${part.excess > 0 ? "+" : ""}${part.excess.toFixed(1)}`).join(", "));
    figures.append("; ", topics);
  }
  if (one.ended_at) figures.append("; over ", whole(one.ended_at)); else figures.append("; still lasting");
  item.append(line, figures);
  if (one.saw.length) item.append(make("p", `saw ${one.saw.join(", ")}`, { className: "small pos" }));
  return item;
}

function render(found) {
  const weeks = (Date.parse(found.until) - Date.parse(found.since)) / 604_800_000;
  const told = make("p");
  told.append(make("b", `${found.alerts_found} ${found.alerts_found === 1 ? "alert" : "alerts"}`), ` from `, whole(found.since), " to ", whole(found.until), `, ${(found.alerts_found / weeks).toFixed(2)} a week, in ${found.series} series. Took ${found.seconds} s.`);
  const parts = [told];
  if (found.blind_buckets) parts.push(make("p", `In ${found.blind_buckets} stretches of five minutes a source may have missed mentions: judged without it.`, { className: "warning small" }));
  if (found.basis) parts.push(make("p", found.basis, { className: "small muted" }));
  if (found.alerts.length) {
    const list = make("ol");
    list.append(...found.alerts.map(alertOf));
    parts.push(make("h3", "It would have told of"), list);
    if (found.alerts_found > found.alerts.length) parts.push(make("p", `and ${found.alerts_found - found.alerts.length} older ones.`, { className: "muted small" }));
  } else parts.push(make("p", "It would have told of nothing.", { className: "muted" }));
  if (found.outcomes.length) {
    parts.push(make("h3", "Incidents that are known"), table([["Incident", ""], ["Begins", ""], ["First told", ""], ["After the begin", "n"], ["Before the peak", "n"]],
      found.outcomes.map((one) => [make("bdi", one.name), whole(one.begin), one.told_at ? whole(one.told_at) : make("span", one.lasting_since ? "an older alert lasted" : "missed", { className: "warning" }), minutes(one.after_begin_seconds), minutes(one.before_peak_seconds)])));
  }
  const most = Math.max(0, ...found.curve.map((point) => point.alerts_a_week));
  const heads = [["Threshold", "n"], ["Alerts", "n"], ["a week", "n"], ["", ""]];
  if (found.labelled) heads.push(["Seen", "n"], ["Missed", "n"], ["False a week", "n"], ["Median delay", "n"]);
  const own = rule().threshold;
  const curve = table(heads, found.curve.map((point) => {
    const cells = [String(Number(point.threshold.toFixed(3))), String(point.alerts), rate(point.alerts_a_week), bar(point.alerts_a_week, most)];
    if (found.labelled) cells.push(String(point.hits), String(point.misses), rate(point.false_alarms_a_week), minutes(point.median_delay_seconds));
    return cells;
  }), "curve");
  curve.querySelectorAll("tbody tr").forEach((row, at) => { if (Math.abs(found.curve[at].threshold - own) < 1e-9) { row.className = "own"; row.cells[0].append(" (this)"); } });
  parts.push(make("h3", "Other thresholds"), curve);
  result.replaceChildren(...parts);
  result.querySelectorAll("time").forEach((time) => { time.dataset.whole = ""; });
  tellAll(result);
}

async function tryIt() {
  mark();
  button.disabled = true;
  const status = document.getElementById("trying");
  const began = Date.now();
  const ticking = setInterval(() => { status.textContent = `Trying … ${Math.round((Date.now() - began) / 1000)} s`; }, 1000);
  status.textContent = "Trying …";
  try {
    const since = new Date(Date.now() - Number(document.getElementById("last-days").value) * 86_400_000).toISOString();
    const answer = await fetch("/api/v1/rules/backtest", {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRF": document.querySelector('meta[name="csrf"]').content },
      body: JSON.stringify({ rule: rule(), since, incidents: document.getElementById("known").value }),
    });
    const body = await answer.json().catch(() => null);
    if (answer.ok) render(body);
    else if (!mark(body?.rule)) throw new Error(body?.detail ?? `That did not work (${answer.status}).`);
    else result.replaceChildren(make("p", "Something in the rule is wrong: it is marked there.", { className: "muted" }));
  } catch (error) {
    const told = make("p", error.message, { className: "notice error" });
    told.setAttribute("role", "alert");
    result.replaceChildren(told);
  }
  clearInterval(ticking);
  status.textContent = "";
  button.disabled = false;
}

form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
button?.addEventListener("click", tryIt);
document.getElementById("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(toml.textContent);
    toast("Copied");
  } catch {
    getSelection().selectAllChildren(toml);
    toast("Marked: copy it with your keys.");
  }
});
show();
