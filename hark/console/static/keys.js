// The keyboard: / to the query, g and a letter to a screen, j and k through a list, ? for help. Screens add their own.

const own = new Map();
let going = 0;

/** Let `key` (as KeyboardEvent.key) call `act`; what it returns is not looked at. */
export function onKey(key, act) { own.set(key, act); }

function typing(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

/** Move through the items of the list (an element with data-list), by `step`; returns the item. */
export function move(list, step) {
  const items = [...list.children].filter((item) => !item.hidden);
  const at = items.findIndex((item) => item.classList.contains("current"));
  const next = items[at < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, at + step))];
  if (!next) return null;
  items[at]?.classList.remove("current");
  next.classList.add("current");
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  list.dispatchEvent(new CustomEvent("moved", { detail: next }));
  return next;
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && typing(event.target)) { event.target.blur(); return; }
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    const list = document.querySelector("[data-list]");
    if (Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`.rail a[data-letter="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); return; }
    }
    if (own.has(event.key)) { event.preventDefault(); own.get(event.key)(event); }
    else if (event.key === "/") { event.preventDefault(); document.getElementById("q")?.select(); }
    else if (event.key === "g") going = Date.now();
    else if (event.key === "?") document.getElementById("keys").showModal();
    else if (event.key === "j" && list) { event.preventDefault(); move(list, 1); }
    else if (event.key === "k" && list) { event.preventDefault(); move(list, -1); }
    else if (event.key === "Enter" && event.target.matches?.("[data-list] > *")) event.target.querySelector("a[href]")?.click();
  });
}
