// The list of incidents: kept fresh while it is looked at, j and k through it, a acknowledges.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";
import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

const EVERY_MS = 5_000;
const place = document.getElementById("incidents");
const news = document.getElementById("news");
let shown = null;
let asked = 0;
let landed = 0;

const open = () => Number(place.querySelector("[data-open]")?.dataset.open ?? 0);

async function refresh() {
  const turn = ++asked;
  const answer = await fetch(place.dataset.path, { headers: { Accept: "text/html" } }).catch(() => null);
  if (answer?.status === 401) { location.reload(); return; }
  if (!answer?.ok) return; // the footer says that the center does not answer
  const text = await answer.text();
  if (turn < landed) return; // a later answer was quicker
  landed = turn;
  if (text === shown) return;
  const first = shown === null;
  shown = text;
  const [before, chosen] = [open(), place.querySelector(".current")?.dataset.id];
  const focused = place.contains(document.activeElement);
  const read = new DOMParser().parseFromString(text, "text/html");
  place.replaceChildren(...read.body.childNodes);
  tellAll(place);
  const again = chosen && place.querySelector(`[data-id="${CSS.escape(chosen)}"]`);
  if (again) { again.classList.add("current"); if (focused) again.focus({ preventScroll: true }); }
  const now = open();
  document.title = document.title.replace(/^Alerts( \(\d+ open\))?/, now ? `Alerts (${now} open)` : "Alerts");
  // Counts are announced, not every row.
  if (!first && now !== before) news.textContent = now > before ? `${now - before} new, ${now} open` : `${now} open`;
}

async function acknowledge() {
  const item = place.querySelector(".incident.current");
  if (!item) { toast("Choose an incident with j and k first."); return; }
  if (item.dataset.status !== "open") { toast("It is not waiting to be acknowledged."); return; }
  try {
    await ask(`/api/v1/incidents/${item.dataset.id}/acknowledge`, { method: "POST", json: {} });
    toast("Acknowledged");
    await refresh();
  } catch (error) { toast(error.message); }
}

place.addEventListener("click", (event) => {
  const item = event.target.closest(".incident");
  if (!item || event.target.closest("a, button")) return;
  place.querySelector(".current")?.classList.remove("current");
  item.classList.add("current");
});
if (place.dataset.respond === "yes") onKey("a", acknowledge);
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
