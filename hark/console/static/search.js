// Search: how many there are, what the query means, searches kept under a name, examples that go into the query.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";
import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

const screen = document.getElementById("search");
const query = document.getElementById("q");
const text = screen.dataset.q;
const wrong = screen.dataset.wrong !== undefined;

function make(name, content = "", more = {}) {
  return Object.assign(document.createElement(name), { textContent: content, ...more });
}
const say = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

// --- how many -----------------------------------------------------------------------------------------------------

function volumeOf({ count, low, high, exact, one_in: oneIn }) {
  if (exact) return [make("b", count.toLocaleString()), make("span", count === 1 ? "mention" : "mentions")];
  return [make("b", `about ${count.toLocaleString()}`), make("span", "mentions"),
    make("span", `${low.toLocaleString()} to ${high.toLocaleString()}, from one in ${oneIn.toLocaleString()}`, { className: "muted small" })];
}

async function tellCount() {
  const place = document.getElementById("count");
  try {
    const found = await ask(`/api/v1/count?${screen.dataset.asked}`);
    const parts = volumeOf(found);
    if (found.as_of) {
      const time = make("time", found.as_of, { dateTime: found.as_of });
      const asOf = make("span", "newest collected ", { className: "muted small" });
      asOf.append(time);
      parts.push(asOf);
    }
    place.replaceChildren(...parts);
    tellAll(place);
  } catch (error) {
    place.replaceChildren(make("span", error.message, { className: "warning" }));
  }
}

// --- how the query is understood ----------------------------------------------------------------------------------

const explain = document.getElementById("explain");

function folded(title, content) {
  const details = make("details");
  details.append(make("summary", title), make("pre", content, { tabIndex: 0 }));
  return details;
}

function showExplained({ words, slower, volume, patterns, stores, platforms }) {
  const parts = [make("pre", words, { className: "tree", tabIndex: 0 })];
  if (volume) {
    const told = make("p");
    for (const part of volumeOf(volume)) told.append(part, " ");
    told.append("in the last seven days");
    parts.push(told);
  } else parts.push(make("p", "How many it finds in a week cannot be told in two seconds, of a sample neither.", { className: "warning" }));
  if (slower.length) {
    parts.push(make("p", "Of the slower kind: the store narrows it down, and this is then decided mention by mention:", { className: "warning small" }));
    const list = make("ul");
    for (const part of slower) { const item = make("li"); item.append(make("code", part)); list.append(item); }
    parts.push(list);
  } else parts.push(make("p", "The store answers it by itself.", { className: "muted small" }));
  for (const { pattern, terms, number } of patterns) {
    const line = make("p", "", { className: "small" });
    line.append(make("code", pattern), number === null ? " stands for more words than are listed" : ` stands for ${say(number, "word")}${terms.length ? `: ${terms.slice(0, 20).join(", ")}${number > 20 ? ", …" : ""}` : ""}`);
    parts.push(line);
  }
  parts.push(folded("What the stores are asked", JSON.stringify(Object.fromEntries(Object.entries(stores).map(([name, { request }]) => [name, request])), null, 1)));
  const asked = Object.entries(platforms).map(([name, { filters, dropped, problem }]) =>
    [`${name}:`, ...(problem ? [`  nothing: ${problem}`] : filters.map((one) => `  ${one}`)), ...dropped.map((part) => `  decided here: ${part}`)].join("\n"));
  parts.push(folded("What the platforms would be asked", asked.join("\n")));
  document.getElementById("explained").replaceChildren(...parts);
}

let explained = false;
async function explainIt() {
  if (explained) return;
  explained = true;
  try {
    showExplained(await ask(`/api/v1/query/explain?${new URLSearchParams({ q: text })}`));
  } catch (error) {
    document.getElementById("explained").replaceChildren(make("p", error.message, { className: "neg told" }));
  }
}
const explainOpened = () => { if (explain.open) explainIt(); };
explain.addEventListener("toggle", explainOpened);
explainOpened(); // opened before this script was here

function fold(details, open = !details.open) {
  details.open = open;
  if (details.open) { details.scrollIntoView({ block: innerWidth > 1000 ? "nearest" : "start" }); details.querySelector("summary").focus({ preventScroll: true }); }
}
document.querySelectorAll("[data-fold]").forEach((button) => button.addEventListener("click", () => fold(document.getElementById(button.dataset.fold), true)));
onKey("e", () => fold(explain));
onKey("h", () => fold(document.getElementById("how")));

// --- examples that go into the query ------------------------------------------------------------------------------

let touched = false; // an untouched box has its caret at the beginning, where nobody put it
query.addEventListener("focus", () => { touched = true; });

document.getElementById("how").addEventListener("click", (event) => {
  const example = event.target.closest(".insert")?.dataset.insert;
  if (!example) return;
  const { value } = query;
  const [start, end] = touched ? [query.selectionStart, query.selectionEnd] : [value.length, value.length];
  const before = value.slice(0, start);
  const after = value.slice(end);
  const put = `${before && !/[\s(]$/.test(before) ? " " : ""}${example}${after && !/^[\s)]/.test(after) ? " " : ""}`;
  query.setRangeText(put, start, end, "end");
  query.focus();
});

// --- saved searches -----------------------------------------------------------------------------------------------

const saved = document.getElementById("saved");
const nameOf = (item) => item.dataset.name;
const known = () => [...saved.querySelectorAll("li")];
const addressOf = (name) => `/api/v1/searches/${encodeURIComponent(name)}`;

saved.addEventListener("click", async (event) => {
  const button = event.target.closest(".delete");
  if (!button) return;
  const item = button.closest("li");
  if (!button.classList.contains("danger")) {
    button.classList.add("danger");
    button.textContent = "Really delete?";
    button.setAttribute("aria-label", `Really delete ${nameOf(item)}?`);
    return;
  }
  try {
    await ask(addressOf(nameOf(item)), { method: "DELETE" });
    toast(`${nameOf(item)} is deleted`);
    item.remove();
    saved.querySelector("summary .muted").textContent = known().length;
  } catch (error) { toast(error.message); }
});

const dialog = document.getElementById("save-dialog");

if (dialog) {
  const name = document.getElementById("save-name");
  const notes = document.getElementById("save-notes");
  const difference = document.getElementById("difference");
  const problem = document.getElementById("save-wrong");
  const save = document.getElementById("save-do");
  let compared = null;

  const examples = (kind, title, { count, examples: some }) => {
    const part = make("div", "", { className: kind });
    part.append(make("p", title));
    const list = make("ul");
    for (const mention of some) {
      const item = make("li");
      item.append(make("bdi", mention.text.slice(0, 200) + (mention.text.length > 200 ? "…" : ""), { dir: "auto" }));
      list.append(item);
    }
    if (count > some.length && some.length) list.append(make("li", `and ${say(count - some.length, "more", "more")}`, { className: "muted" }));
    part.append(list);
    return part;
  };

  async function compare() {
    const item = known().find((one) => nameOf(one) === name.value.trim());
    const key = item ? nameOf(item) : null;
    if (key === compared) return;
    compared = key;
    problem.textContent = "";
    save.disabled = false;
    save.textContent = item ? "Save the change" : "Save";
    difference.replaceChildren();
    if (!item) return;
    if (item.dataset.yours === undefined) {
      problem.textContent = `This search is ${item.dataset.owner}'s: choose another name.`;
      save.disabled = true;
      return;
    }
    difference.replaceChildren(make("p", "Comparing …", { className: "muted" }));
    try {
      const { added, lost, kept } = await ask(`${addressOf(key)}/difference?${new URLSearchParams({ q: text })}`);
      if (compared !== key) return;
      difference.replaceChildren(make("p", `In the last seven days, beside ${say(kept, "mention")} that both find:`),
        examples("added", `+ ${say(added.count, "mention")} more would be found`, added),
        examples("lost", `− ${say(lost.count, "mention")} would not be found any more`, lost));
    } catch (error) {
      if (compared === key) difference.replaceChildren(make("p", `What it changes cannot be told: ${error.message}`, { className: "warning" }));
    }
  }

  function open() {
    if (wrong) { toast("Mend the query first: its mistake is marked."); return; }
    dialog.showModal();
    name.focus();
    compare();
  }

  name.addEventListener("input", compare);
  document.getElementById("save").addEventListener("click", open);
  document.getElementById("save-change")?.addEventListener("click", () => { name.value = screen.dataset.current; compared = null; open(); });
  document.getElementById("save-cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = name.value.trim();
    const json = { query: text, notes: notes.value };
    try {
      if (known().some((one) => nameOf(one) === chosen)) await ask(addressOf(chosen), { method: "PUT", json });
      else await ask("/api/v1/searches", { method: "POST", json: { name: chosen, ...json } });
      const address = new URL(location.href);
      address.searchParams.set("saved", chosen);
      location.assign(address);
    } catch (error) { problem.textContent = error.message; }
  });
  onKey("s", open);
}

if (wrong) {
  // The mistake is where one goes on; positions count characters, the box counts units of UTF-16.
  const at = [...text].slice(0, Number(screen.dataset.wrong)).join("").length;
  query.focus();
  query.setSelectionRange(at, at);
} else tellCount();
