// The trends: counted after the frame stands, then drawn; notes on the charts; pictures of them.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";
import { makeSortable } from "/static/tables.js";
import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

let charts = null;
let drawn = false;
const place = document.getElementById("trends");

async function load() {
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(place.dataset.path, { headers: { Accept: "text/html" } });
    if (answer.status === 401) { location.reload(); return; }
    const text = await answer.text();
    const read = new DOMParser().parseFromString(text, "text/html");
    if (!answer.ok) throw new Error(read.querySelector("main")?.textContent.trim() || `That did not work (${answer.status}).`);
    place.replaceChildren(...read.body.childNodes);
    place.querySelectorAll("table.sortable").forEach(makeSortable);
    tellAll(place);
    place.querySelectorAll("[data-forget]").forEach((button) => button.addEventListener("click", () => forget(button.dataset.forget)));
    const figures = place.querySelectorAll("figure.chart");
    if (figures.length) {
      // The library draws what is there when it first comes; later on it has to be told.
      const { drawAll, save } = await (charts ??= import("/static/chart.js"));
      if (drawn) await drawAll();
      drawn = true;
      place.querySelectorAll("[data-save]").forEach((button) => button.addEventListener("click", () => save(document.getElementById(button.dataset.save), "hark-trends")));
    }
  } catch (error) {
    const told = Object.assign(document.createElement("p"), { className: "notice error", textContent: error.message });
    told.setAttribute("role", "alert");
    place.replaceChildren(told);
  }
  place.setAttribute("aria-busy", "false");
}

async function forget(id) {
  try {
    await ask(`/api/v1/annotations/${id}`, { method: "DELETE" });
    await load();
  } catch (error) { toast(error.message); }
}

const dialog = document.getElementById("noting");
if (dialog) {
  const at = document.getElementById("noting-at");
  const text = document.getElementById("noting-text");
  const wrong = document.getElementById("noting-wrong");
  const open = () => {
    const now = new Date();
    at.value = new Date(now - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    wrong.textContent = "";
    dialog.showModal();
    text.focus();
  };
  document.getElementById("note").addEventListener("click", open);
  onKey("a", open);
  document.getElementById("noting-cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await ask("/api/v1/annotations", { method: "POST", json: { at: new Date(at.value).toISOString(), text: text.value } });
      dialog.close();
      text.value = "";
      toast("Noted");
      await load();
    } catch (error) { wrong.textContent = error.message; }
  });
}
load();
