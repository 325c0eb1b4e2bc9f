// Words for instants (ms or RFC 3339 → UTC), spans (ms) and amounts.

const two = (number) => String(number).padStart(2, "0");
export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

// An instant of the agent's; with its day where that is not the day of `now`.
export function time(text, now) {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return "";
  const day = new Date(ms).toISOString().slice(0, 10);
  return day === new Date(now).toISOString().slice(0, 10) ? clock(ms) : `${day} ${clock(ms)}`;
}

export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min`;
}

export function size(bytes) {
  const step = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${number(bytes / 1000 ** step)} ${["B", "kB", "MB", "GB", "TB"][step]}`;
}

export const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });

const PLAIN = { fetch: "Fetch of the control file", "cool-down": "Cool-down", kill: "Kill of what is left", proof: "Proof that nothing is left" };
export const named = (due) => PLAIN[due] ?? due.replace(/^task/, "Task");
export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
export const test = ({ type, filesize }) => (type === "k6" || !filesize ? type ?? "–" : `${type} ${filesize}`); // k6 moves no file of a size

// What k6 measures at this moment; empty for what is not known.
export function measured(k6) {
  if (!k6) return "";
  const slow = k6.rt95p === null ? "" : `, 95 % within ${number(k6.rt95p * 1000)} ms`;
  const failed = k6.failed === null ? "" : `, ${number(k6.failed * 100)} % failed`;
  return `: ${k6.vus} virtual ${k6.vus === 1 ? "user" : "users"}, ${number(k6.rps)} requests/s${slow}${failed}`;
}
