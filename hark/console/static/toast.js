// A word at the edge of the screen, spoken by screen readers; gone after a while.

export function toast(text, seconds = 5) {
  const place = document.getElementById("toasts");
  const said = document.createElement("p");
  said.textContent = text;
  place.append(said);
  setTimeout(() => said.remove(), seconds * 1000);
}
