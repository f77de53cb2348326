// The live feed: new mentions by server-sent events, a list that holds still while it is read, labels by one key.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";
import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

const MOST_ROWS = 200;
const HIDDEN_SECONDS = 30;
const list = document.getElementById("list");
const chosen = document.getElementById("chosen");
const state = document.getElementById("feed-state");
const button = document.getElementById("new");
const sampled = document.getElementById("sampled");
const columns = document.getElementById("feed");
const queue = list.closest(".queue");
let place = columns.dataset.place;
let source = null;
let held = false;
let pointed = false;
let skipped = 0;
let hiddenTimer = 0;
const waiting = new Map();

// --- the list -----------------------------------------------------------------------------------------------------

function rowOf(html) {
  const made = document.createElement("template");
  made.innerHTML = html.trim(); // written by the server, where everything that people said is escaped
  const row = made.content.firstElementChild;
  row.querySelectorAll("a.text").forEach((link) => { link.href = addressOf(row.dataset.id); });
  tellAll(row);
  return row;
}

function addressOf(id) {
  const address = new URL(location.href);
  address.pathname = "/feed";
  if (id) address.searchParams.set("id", id);
  else address.searchParams.delete("id");
  return address.pathname + address.search;
}

const rowWith = (id) => list.querySelector(`:scope > [data-id="${CSS.escape(id)}"]`);
const createdOf = (row) => Date.parse(row.querySelector(".head time")?.dateTime);
const atTop = () => (queue.scrollHeight > queue.clientHeight ? queue.scrollTop : scrollY) < 8;
const reading = () => held || pointed || !atTop() || list.contains(document.activeElement) || document.body.classList.contains("reading") && innerWidth <= 700;

function insert({ id, created, html }) {
  const row = rowOf(html);
  const before = rowWith(id);
  if (before) {
    row.classList.toggle("current", before.classList.contains("current"));
    note(row, "edited");
    before.replaceWith(row);
    return;
  }
  const rows = list.children;
  let next = 0;
  while (next < rows.length && createdOf(rows[next]) > created) next += 1;
  if (next >= MOST_ROWS) return;
  list.insertBefore(row, rows[next] ?? null);
  while (rows.length > MOST_ROWS) rows[rows.length - 1].remove();
  document.getElementById("nothing").hidden = true;
}

function take(data) {
  if (rowWith(data.id)) { insert(data); return; } // what became of a shown one is shown at once
  if (!reading()) { insert(data); return; }
  waiting.set(data.id, data);
  if (waiting.size > MOST_ROWS) waiting.delete(waiting.keys().next().value);
  tellWaiting();
}

function tellWaiting() {
  button.hidden = waiting.size === 0;
  announce();
  button.textContent = `${waiting.size === MOST_ROWS ? `${MOST_ROWS} or more` : waiting.size} new, press n`;
}

// Screen readers hear counts, not every mention, and not more often than every ten seconds.
let announced = 0;
function announce() {
  if (!waiting.size || Date.now() - announced < 10_000) return;
  announced = Date.now();
  document.getElementById("new-said").textContent = `${waiting.size} new mentions`;
}

function showNew() {
  for (const data of waiting.values()) insert(data);
  waiting.clear();
  tellWaiting();
  queue.scrollTop = 0;
}

function note(row, text) {
  let fate = row.querySelector(".fate");
  if (!fate) { fate = Object.assign(document.createElement("p"), { className: "fate" }); row.append(fate); }
  fate.textContent = text;
}

function markGone(id) {
  waiting.delete(id);
  tellWaiting();
  const row = rowWith(id);
  if (row) { row.classList.add("gone"); note(row, "deleted"); row.querySelectorAll(".text, .chips").forEach((part) => part.remove()); }
  const shown = chosen.querySelector(".one");
  if (shown?.dataset.id === id) {
    const empty = Object.assign(document.createElement("div"), { className: "empty" });
    empty.append(Object.assign(document.createElement("h2"), { textContent: "Deleted just now" }), Object.assign(document.createElement("p"), { textContent: "Its author or the platform took it back." }));
    chosen.replaceChildren(empty);
  }
}

async function refreshRow(id, fate) {
  if (!rowWith(id)) return;
  try {
    insert(await ask(`/feed/row?id=${encodeURIComponent(id)}`));
    if (fate) note(rowWith(id), fate);
  } catch { markGone(id); }
}

function markLabelled({ id, tag, value, by }) {
  const row = rowWith(id);
  if (row) {
    if (tag === "sentiment") paint(row.querySelector(".tone"), value);
    note(row, `${tag}: ${value || "none"} · ${by}`);
  }
  if (chosen.querySelector(".one")?.dataset.id === id) setTimeout(() => open(id, false), 1500); // the index needs a moment
}

function paint(tone, value) {
  const [sign, kind] = { negative: ["▼", "neg"], positive: ["▲", "pos"] }[value] ?? ["●", "neu"];
  tone.className = `tone ${kind}`;
  tone.title = value;
  tone.firstElementChild.textContent = sign;
  tone.lastElementChild.textContent = value;
}

// --- the stream ---------------------------------------------------------------------------------------------------

function say(text) { state.textContent = text; }

function connect() {
  if (source || columns.dataset.wrong !== undefined) return;
  const query = new URLSearchParams(location.search).get("q") ?? "";
  source = new EventSource(`/feed/stream?${new URLSearchParams({ q: query, place })}`);
  const on = (name, act) => source.addEventListener(name, (event) => {
    if (event.lastEventId) place = event.lastEventId;
    act(JSON.parse(event.data));
  });
  on("begin", ({ reset }) => {
    say(held ? "held still" : "live");
    if (reset) { toast("Too much happened meanwhile; the list begins anew."); location.reload(); return; }
    lookForDeleted();
  });
  on("mention", take);
  on("gone", ({ id }) => markGone(id));
  on("changed", ({ id }) => setTimeout(() => refreshRow(id, "edited: does not match any more"), 1500));
  on("labelled", markLabelled);
  on("sampled", (data) => {
    skipped += data.skipped;
    sampled.hidden = false;
    sampled.textContent = `More comes than a list can show: a sample; ${skipped.toLocaleString()} left out since you opened it.`;
    lookForDeleted();
  });
  on("over", () => { disconnect(); location.reload(); });
  source.addEventListener("error", () => {
    say("connection lost; trying again");
    if (source?.readyState === EventSource.CLOSED) { disconnect(); setTimeout(connect, 3000); }
  });
}

function disconnect() { source?.close(); source = null; }

let looking = 0;
function lookForDeleted() {
  clearTimeout(looking);
  looking = setTimeout(async () => {
    const ids = [...list.children].map((row) => row.dataset.id);
    if (!ids.length) return;
    try { (await ask("/api/v1/deleted", { method: "POST", json: { ids } })).deleted.forEach(markGone); } catch (error) { toast(error.message); }
  }, 500);
}

// A browser opens six connections to one place: a hidden tab gives its own back, and goes on where it was.
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) hiddenTimer = setTimeout(disconnect, HIDDEN_SECONDS * 1000);
  else connect();
});

// --- the chosen mention -------------------------------------------------------------------------------------------

let opening = null;
async function open(id, remember = true, whole = false) {
  opening?.abort();
  opening = new AbortController();
  const parameters = new URLSearchParams(location.search);
  parameters.set("id", id);
  if (whole) parameters.set("whole", "true");
  if (remember) history.pushState({ id }, "", addressOf(id));
  try {
    const answer = await fetch(`/feed/mention?${parameters}`, { signal: opening.signal });
    if (answer.status === 401 || answer.redirected) { location.reload(); return; }
    if (!answer.ok) { markGone(id); return; }
    chosen.innerHTML = await answer.text(); // written by the server, where everything that people said is escaped
  } catch (error) {
    if (error.name !== "AbortError") toast("The center does not answer. Is it running?");
    return;
  }
  tellAll(chosen);
  chosen.scrollTop = 0;
  document.body.classList.add("reading");
  for (const row of list.children) row.classList.toggle("current", row.dataset.id === id);
}

function back() {
  document.body.classList.remove("reading");
  if (new URLSearchParams(location.search).has("id")) history.pushState({}, "", addressOf(""));
  list.querySelector(".current")?.focus();
}

const chosenId = () => chosen.querySelector(".one")?.dataset.id ?? list.querySelector(".current")?.dataset.id;

list.addEventListener("click", (event) => {
  const row = event.target.closest(".mention");
  if (!row || event.ctrlKey || event.metaKey || event.shiftKey || row.classList.contains("gone")) return;
  event.preventDefault();
  open(row.dataset.id);
});
list.addEventListener("moved", ({ detail: row }) => { if (!row.classList.contains("gone")) open(row.dataset.id); });
chosen.addEventListener("click", async (event) => {
  const id = chosenId();
  if (event.target.closest("#whole")) open(id, false, true);
  else if (event.target.closest(".back")) { event.preventDefault(); back(); }
  else if (event.target.closest("[data-tone]")) labelTone(event.target.closest("[data-tone]").dataset.tone);
  else if (event.target.closest("#correct")) correct();
  else if (event.target.closest("#copy")) copyLink();
  else if (event.target.closest("#reveal")) {
    try {
      const { pieces } = await ask("/api/v1/reveal", { method: "POST", json: { id } });
      const said = Object.assign(document.createElement("bdi"), { className: "said", dir: "auto" });
      for (const piece of pieces) {
        const part = piece.kind ? Object.assign(document.createElement("mark"), { className: piece.kind }) : document.createElement("span");
        part.textContent = piece.text;
        said.append(part);
      }
      document.getElementById("words").replaceChildren(said);
      event.target.remove();
    } catch (error) { toast(error.message); }
  }
});
addEventListener("popstate", () => {
  const id = new URLSearchParams(location.search).get("id");
  if (id) open(id, false); else document.body.classList.remove("reading");
});

// --- labels -------------------------------------------------------------------------------------------------------

const dialog = document.getElementById("label");

async function label(id, tag, value) {
  await ask("/api/v1/labels", { method: "POST", json: { id, tag, value } });
  toast(`Labelled ${tag}: ${value || "none"}`);
}

async function labelTone(tone) {
  const id = chosenId();
  if (!id) { toast("Choose a mention first: j"); return; }
  try { await label(id, "sentiment", tone); } catch (error) { toast(error.message); }
}

function correct() {
  if (!chosenId()) return;
  document.getElementById("label-wrong").textContent = "";
  const value = document.getElementById("label-value");
  value.value = "";
  dialog.showModal();
  value.focus();
}

if (dialog) {
  const tag = document.getElementById("label-tag");
  const value = document.getElementById("label-value");
  const wrong = document.getElementById("label-wrong");
  for (const [key, sentiment] of [["1", "negative"], ["2", "neutral"], ["3", "positive"]]) {
    onKey(key, () => labelTone(sentiment));
  }
  tag.addEventListener("change", () => { value.setAttribute("list", `label-${tag.value}`); value.value = ""; });
  onKey("l", correct);
  document.getElementById("label-cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try { await label(chosenId(), tag.value, value.value); dialog.close(); } catch (error) { wrong.textContent = error.message; }
  });
}

async function copyLink() {
  const id = chosenId();
  if (!id) return;
  try { await navigator.clipboard.writeText(location.origin + addressOf(id)); toast("Link copied"); } catch { toast("The browser did not let the link be copied."); }
}

// --- keys and holding still ---------------------------------------------------------------------------------------

onKey("n", showNew);
onKey("p", () => { held = !held; say(held ? "held still" : "live"); if (!held) showNew(); });
onKey("o", () => document.getElementById("original")?.click());
onKey("c", copyLink);
onKey("Escape", back);
button.addEventListener("click", showNew);
queue.addEventListener("pointerenter", (event) => { pointed = event.pointerType === "mouse"; });
queue.addEventListener("pointerleave", () => { pointed = false; if (!reading() && waiting.size) showNew(); });
queue.addEventListener("scroll", () => { if (!reading() && waiting.size) showNew(); });

const first = new URLSearchParams(location.search).get("id");
if (first) rowWith(first)?.classList.add("current");
if (columns.dataset.wrong !== undefined) say("mend the query to go on");
else connect();
