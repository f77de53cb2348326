// Times in the viewer's zone: "3 m ago" while it is near, a date later, the whole on hover. Kept fresh.

const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const year = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

export function ago(instant, now = Date.now()) {
  const seconds = Math.round((now - instant) / 1000);
  if (seconds < -60 || seconds >= 86_400) return (Math.abs(seconds) > 86_400 * 300 ? year : day).format(instant);
  if (seconds < 1) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

export function tell(element) {
  const instant = Date.parse(element.dateTime);
  if (Number.isNaN(instant)) return;
  const text = element.dataset.whole === undefined ? ago(instant) : day.format(instant);
  if (element.textContent !== text) element.textContent = text;
  if (!element.title) element.title = whole.format(instant);
}

export function tellAll(root = document) {
  root.querySelectorAll("time[datetime]").forEach(tell);
}

export function keepTelling() {
  tellAll();
  setInterval(() => { if (!document.hidden) tellAll(); }, 10_000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tellAll(); });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `hark_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
}
