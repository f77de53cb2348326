// Labels by one key, scores that are measured after the page, and generations of tags.

import { ask } from "/static/http.js";
import { move, onKey } from "/static/keys.js";
import { makeSortable } from "/static/tables.js";
import { tellAll } from "/static/times.js";

const count = new Intl.NumberFormat("en");
const make = (name, text = "", kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });

// --- the queue ----------------------------------------------------------------------------------------------------
let queue = null;

async function label(item, value) {
  const told = item.querySelector('[role="status"]');
  // On to the next at once: whoever labels does not wait for the network, and a failure is told where it happened.
  if (item.classList.contains("current")) move(queue, 1);
  try {
    await ask("/api/v1/labels", { method: "POST", json: { id: item.dataset.id, tag: queue.dataset.tag, value } });
    item.classList.add("done");
    told.textContent = `✓ ${value || "none"}`;
  } catch (error) { told.textContent = error.message; }
}

function listen() {
  queue.addEventListener("click", (event) => {
    const item = event.target.closest(".doubt");
    const button = event.target.closest("button");
    if (!item || !button) return;
    label(item, button.dataset.value ?? item.querySelector("select").value);
  });
  if (queue.dataset.tag === "sentiment" && queue.querySelector("button"))
    ["negative", "neutral", "positive"].forEach((value, at) => onKey(String(at + 1), () => {
      const item = queue.querySelector(".current");
      if (item) label(item, value);
    }));
}

/** Fetch a piece of the page that takes counting into its place. */
async function load(place, otherwise) {
  try {
    const answer = await fetch(place.dataset.path);
    const read = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(read.querySelector("main")?.textContent.trim() || otherwise);
    place.replaceChildren(...read.body.childNodes);
    place.querySelectorAll("table.sortable").forEach(makeSortable);
    tellAll(place);
  } catch (error) { place.replaceChildren(make("p", error.message, "notice error")); }
  place.setAttribute("aria-busy", "false");
}

const chosen = document.getElementById("queue-place");
if (chosen) {
  await load(chosen, "The queue could not be made.");
  queue = document.getElementById("queue");
  if (queue) listen();
}

// --- the scores ---------------------------------------------------------------------------------------------------
const scores = document.getElementById("scores");
if (scores) await load(scores, "That could not be measured.");

// --- generations --------------------------------------------------------------------------------------------------
const told = document.getElementById("told");
const SAYS = { promote: "Show the other generation everywhere?", rollback: "Go back to the generation that was shown before?", drop: "Remove the other generation?" };

async function act(name) {
  if (SAYS[name] && !confirm(SAYS[name])) return;
  told.className = "";
  told.textContent = name === "difference" ? "Comparing every mention: about half a minute a million …" : "One moment …";
  try {
    if (name === "difference") { showDifference(await ask("/api/v1/generations/difference")); told.textContent = ""; return; }
    if (name === "start") {
      const days = document.getElementById("since").value;
      const since = days ? new Date(Date.now() - days * 86_400_000).toISOString() : null;
      await ask("/api/v1/generations", { method: "POST", json: { since } });
    } else await ask(`/api/v1/generations/${name}`, { method: "POST" });
    location.reload();
  } catch (error) { told.className = "neg"; told.textContent = error.message; }
}

function table(heads, rows) {
  const made = make("table");
  const head = made.createTHead().insertRow();
  heads.forEach((title, at) => head.append(Object.assign(make("th", title, at ? "n" : ""), { scope: "col" })));
  const body = made.createTBody();
  for (const cells of rows) { const row = body.insertRow(); cells.forEach((cell, at) => { const made = row.insertCell(); made.textContent = cell; made.className = at ? "n" : ""; }); }
  return made;
}

const net = (value) => (value === null ? "–" : Math.round(value * 100).toString().replace("-", "−"));

function showDifference(found) {
  const place = document.getElementById("difference");
  place.replaceChildren(make("h2", `From generation ${found.before} to ${found.after}: ${count.format(found.changed)} of ${count.format(found.compared)} mentions change`));
  if (found.missing) place.append(make("p", `${count.format(found.missing)} are not there yet.`, "muted"));
  for (const [tag, moves] of Object.entries(found.moves)) {
    if (!moves.length) continue;
    place.append(make("h3", tag));
    const list = make("ul");
    for (const one of moves.slice(0, 12)) {
      const item = make("li", `${one.before} → ${one.after}: ${count.format(one.count)}`);
      for (const example of one.examples.slice(0, 2)) { const said = make("bdi", example.text, "muted small"); said.dir = "auto"; item.append(make("br"), said); }
      list.append(item);
    }
    place.append(list);
  }
  for (const [by, courses] of Object.entries(found.trends))
    place.append(make("h3", by === "all" ? "Last 30 days" : `Last 30 days by ${by}`), table(["", "Mentions before", "after", "Net before", "after"], courses.slice(0, 20).map((one) => [one.value || "all", count.format(one.before), count.format(one.after), net(one.net_before), net(one.net_after)])));
}

document.getElementById("acts")?.addEventListener("click", (event) => { const name = event.target.dataset.act; if (name) act(name); });
// While a generation is built the page follows it; one that nobody looks at waits until it is looked at again.
function follow() {
  if (!document.hidden) location.reload();
  else document.addEventListener("visibilitychange", follow, { once: true });
}
if (document.querySelector("[data-generation]") && [...document.querySelectorAll("[data-generation] td:nth-child(2)")].some((cell) => /building|starting|dropping/.test(cell.textContent)))
  setTimeout(follow, 5000);
