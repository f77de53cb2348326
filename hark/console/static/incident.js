// One incident: its charts, what is done about it, and its figures while they move.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";
import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

const EVERY_MS = 10_000;
const place = document.getElementById("incident");
const news = document.getElementById("news");
const dialog = document.getElementById("acting");
const words = {
  acknowledge: { done: "Acknowledged" },
  silence: { title: "Silence it", verb: "Silence", done: "Silenced" },
  own: { title: "Hand it over", verb: "Hand over", done: "Handed over" },
  note: { title: "Write a note", verb: "Note it", done: "Noted", label: "Note", help: "It stands in the timeline and in the post-mortem." },
  link: { title: "Link a case", verb: "Link", done: "Linked", label: "The case's id", help: "" },
  resolve: { title: "Say that it is over", verb: "Resolve", done: "Resolved", label: "How it ended (if you like)", help: "It is reopened when it rises again for the same reason within six hours." },
  reopen: { title: "Say that it is not over", verb: "Reopen", done: "Reopened", label: "Why (if you like)", help: "" },
};
let shown = null;
let asked = 0;
let landed = 0;
let charts = null;
let drawn = false;

async function drawCharts() {
  if (!place.querySelector("figure.chart")) return;
  // The library draws what is there when it first comes; later on it has to be told.
  const { drawAll } = await (charts ??= import("/static/chart.js"));
  if (drawn) await drawAll();
  drawn = true;
}

async function refresh() {
  const turn = ++asked;
  const answer = await fetch(place.dataset.path, { headers: { Accept: "text/html" } }).catch(() => null);
  if (answer?.status === 401) { location.reload(); return; }
  if (!answer?.ok) return;
  const text = await answer.text();
  if (turn < landed) return; // a later answer was quicker
  landed = turn;
  if (text === shown) return;
  const first = shown === null;
  shown = text;
  const before = place.querySelector("article").dataset.version;
  const opened = place.querySelector("#others")?.open;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  place.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
  tellAll(place);
  if (opened) place.querySelector("#others")?.setAttribute("open", "");
  if (focused) place.querySelector(`[data-act="${focused}"]`)?.focus();
  if (!first && place.querySelector("article").dataset.version !== before) news.textContent = "The incident has changed.";
  await drawCharts();
}

async function act(action, json) {
  await ask(`/api/v1/incidents/${place.dataset.id}/${action}`, { method: "POST", json });
  toast(words[action].done);
  await refresh();
}

async function simply(action, json = {}) {
  try { await act(action, json); } catch (error) { toast(error.message); }
}

function open(action) {
  const said = words[action];
  dialog.dataset.action = action;
  document.getElementById("acting-title").textContent = said.title;
  document.getElementById("acting-do").textContent = said.verb;
  document.getElementById("acting-wrong").textContent = "";
  document.getElementById("acting-text").value = "";
  document.getElementById("acting-owner").value = "";
  document.getElementById("acting-label").textContent = said.label ?? "";
  document.getElementById("acting-help").textContent = said.help ?? "";
  dialog.querySelectorAll("[data-for]").forEach((part) => { part.hidden = !part.dataset.for.split(" ").includes(action); });
  dialog.showModal();
  dialog.querySelector("[data-for]:not([hidden]) :is(select, input, textarea)").focus();
}

if (dialog) {
  place.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    const action = button.dataset.act;
    if (action === "acknowledge") simply("acknowledge");
    else if (action === "mine") simply("own", { text: button.dataset.me });
    else open(action);
  });
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const action = dialog.dataset.action;
    const json = action === "silence" ? { minutes: Number(document.getElementById("acting-minutes").value) }
      : { text: document.getElementById(action === "own" ? "acting-owner" : "acting-text").value.trim() };
    try {
      await act(action, json);
      dialog.close();
    } catch (error) { document.getElementById("acting-wrong").textContent = error.message; }
  });
  document.getElementById("acting-cancel").addEventListener("click", () => dialog.close());
  onKey("a", () => {
    if (place.querySelector("article").dataset.status === "open") simply("acknowledge");
    else toast("It is not waiting to be acknowledged.");
  });
  onKey("n", () => open("note"));
}
onKey("u", () => document.getElementById("up").click());
onKey("j", () => document.getElementById("after")?.click());
onKey("k", () => document.getElementById("before")?.click());
drawCharts();
setInterval(() => { if (!document.hidden && !dialog?.open) refresh(); }, EVERY_MS);
