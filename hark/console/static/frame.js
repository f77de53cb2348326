// What every screen has: times, keys, theme, tables, the footer's truth.

import { listenToKeys } from "/static/keys.js";
import { keepTelling, tell } from "/static/times.js";
import { makeSortable } from "/static/tables.js";
import { ask } from "/static/http.js";
import { toast } from "/static/toast.js";

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  document.cookie = `hark_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  document.dispatchEvent(new Event("theme"));
}

function tellOpen(open) {
  const count = document.getElementById("open");
  if (!count) return;
  if (open > Number(count.textContent)) toast("A new incident is open: see Alerts (g a)");
  count.textContent = open;
  count.hidden = !open;
}

async function tellPulse(foot) {
  const text = document.getElementById("pulse-text");
  const dot = foot.querySelector(".dot");
  try {
    const { live, sources, newest_ms: newest, silent, open } = await ask("/api/v1/pulse");
    tellOpen(open);
    const said = sources === 0 ? "no source is set up" : `${live ? "live" : "silent"} · ${live} of ${sources} sources`;
    text.textContent = silent.length ? `${said} · silent: ${silent.join(", ")}` : said;
    dot.className = `dot ${live === sources && sources ? "ok" : "warn"}`;
    const time = foot.querySelector("#pulse-newest time");
    if (time && newest !== null) { time.dateTime = new Date(newest).toISOString(); time.title = ""; tell(time); }
  } catch (error) {
    text.textContent = error.message;
    dot.className = "dot warn";
  }
}

keepTelling();
listenToKeys();
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.getElementById("theme")?.addEventListener("click", switchTheme);
document.getElementById("help")?.addEventListener("click", () => document.getElementById("keys").showModal());
document.querySelectorAll("select[data-submit]").forEach((select) =>
  select.addEventListener("change", () => {
    select.form.querySelectorAll('[name="since"], [name="until"]').forEach((field) => { field.disabled = true; });
    select.form.requestSubmit();
  }),
);
// What is empty stays out of the address.
document.querySelectorAll("form.ask").forEach((form) =>
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  }),
);
const foot = document.getElementById("pulse");
if (foot) setInterval(() => { if (!document.hidden) tellPulse(foot); }, 15_000);
