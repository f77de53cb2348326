// The books and what was refused: fetched after the page, since adding up takes a moment, and kept fresh.

import { ask } from "/static/http.js";
import { onKey } from "/static/keys.js";
import { tellAll } from "/static/times.js";
import { toast } from "/static/toast.js";

const count = new Intl.NumberFormat("en");
const FIELDS = ["collected", "indexed", "rejected", "deleted", "pending"];
const WORDS = { collected: "collected", indexed: "indexed", rejected: "refused", deleted: "deleted", pending: "on the way" };

const make = (name, text = "", kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });

function time(iso) {
  return Object.assign(document.createElement("time"), { dateTime: iso, textContent: iso });
}

let checked = null; // the last comparison of ids: it stays told, with its time, when the next sums come in

function showBooks(books) {
  if (books.verification) checked = { ...books.verification, at: books.at };
  const sum = document.getElementById("sum");
  const parts = FIELDS.flatMap((field, at) => {
    const figure = make("span", "", "figure");
    figure.append(make("b", count.format(books.total[field])), make("span", WORDS[field]));
    return at ? [make("span", at === 1 ? "=" : "+", "sign"), figure] : [figure];
  });
  sum.replaceChildren(...parts);
  const verdict = document.getElementById("verdict");
  const wrong = books.sources.filter((one) => one.collected !== one.indexed + one.rejected + one.deleted + one.pending);
  const balanced = books.balanced && !checked?.missing && !checked?.unknown;
  verdict.className = balanced ? "pos" : "neg";
  verdict.textContent = balanced ? "✓ The books balance: every mention collected is in one place." : `▲ The books do not balance: ${wrong.map((one) => one.name).join(", ") || (books.lost.length ? "the log lost records" : "ids differ")}.`;
  for (const one of books.lost) verdict.append(` The log removed ${count.format(one.end - one.begin)} records of ${one.topic} (partition ${one.partition}) before ${one.reader} had read them.`);
  if (checked) {
    const { compared, missing, unknown, examples } = checked;
    const when = time(checked.at);
    when.dataset.whole = "";
    verdict.append(` ${count.format(compared)} ids compared one by one: ${count.format(missing)} missing, ${count.format(unknown)} never collected, as of `, when, ".");
    if (examples.length) verdict.append(` For example ${examples.slice(0, 5).join(", ")}.`);
  }
  document.querySelector("#by-source tbody").replaceChildren(...books.sources.map((one) => {
    const row = document.createElement("tr");
    row.dataset.source = one.name;
    row.append(make("td", one.name), ...FIELDS.map((field) => {
      const cell = make("td", count.format(one[field]), "n");
      cell.dataset.field = field;
      return cell;
    }), wrong.includes(one) ? make("td", "▲ does not balance", "neg") : make("td", "✓ balances", "pos"));
    return row;
  }));
  document.getElementById("books-at").replaceChildren("as of ", time(books.at));
  document.getElementById("books").setAttribute("aria-busy", "false");
  tellAll(document.getElementById("books"));
}

async function books(verify = false) {
  try {
    showBooks(await ask(`/api/v1/books${verify ? "?verify=true" : ""}`));
  } catch (error) {
    document.getElementById("verdict").className = "neg";
    document.getElementById("verdict").textContent = error.message;
  }
}

async function verify() {
  const button = document.getElementById("verify");
  button.disabled = true;
  button.textContent = "Comparing …";
  await books(true);
  button.disabled = false;
  button.textContent = "Compare the ids themselves";
}

async function replay(ids) {
  try {
    const { sent, refused } = await ask("/api/v1/rejected/replay", { method: "POST", json: { ids } });
    toast(refused.length ? `${sent} sent round again; ${refused.length} still cannot be read` : `${sent} sent round again`);
    await refusals();
  } catch (error) {
    toast(error.message);
  }
}

async function refusals() {
  const told = document.getElementById("rejected-told");
  const list = document.getElementById("rejected-list");
  const all = document.getElementById("replay-all");
  try {
    const { total, rejected } = await ask("/api/v1/rejected?limit=50");
    told.textContent = total
      ? `${count.format(total)} could not be taken; their bytes are kept as they came. Mend the cause, then send them round again.`
      : "None: everything that came could be read, tagged and indexed.";
    if (all) all.hidden = total === 0;
    list.replaceChildren(...rejected.map((item) => {
      const row = document.createElement("li");
      const head = make("span", "", "row spread");
      const name = make("span", "", "row");
      name.append(make("b", item.id), make("span", `refused at ${item.stage}`, "chip"), time(item.at));
      head.append(name);
      if (list.dataset.mayReplay === "yes") {
        const button = make("button", "Send round again");
        button.type = "button";
        button.addEventListener("click", () => replay([item.id]));
        head.append(button);
      }
      const bytes = document.createElement("details");
      const text = make("pre", item.original + (item.bytes > 2000 ? " …" : ""));
      text.tabIndex = 0;
      bytes.append(make("summary", `${count.format(item.bytes)} bytes as they came`), text);
      row.append(head, make("span", item.reason), bytes);
      return row;
    }));
    tellAll(list);
  } catch (error) {
    told.textContent = error.message;
  }
  document.getElementById("rejected").setAttribute("aria-busy", "false");
}

document.getElementById("verify").addEventListener("click", verify);
document.getElementById("replay-all")?.addEventListener("click", () => replay(null));
onKey("v", verify);
books();
refusals();
setInterval(() => { if (!document.hidden) books(); }, 10_000);
