// The timeline of a cycle: its phases, its tasks, and where in it the agent is.

import { $, children, make, put } from "./dom.js";
import { clock, span } from "./words.js";

const HOUR = 3600000; // ms

export function showHour(status, tasks, now) {
  const length = status.cycle_seconds * 1000;
  const begin = Math.floor(now / length) * length;
  const minute = (at) => begin + (length * at) / 60;
  const short = (ms) => (length === HOUR ? clock(ms).slice(0, 5) : clock(ms));
  put($("h-hour"), `${length === HOUR ? "This hour" : `This cycle of ${span(length)}`} (UTC)`);
  put($("l-fetch"), `fetch period ${short(begin)} – ${short(minute(5))}`);
  put($("l-window"), `window ${short(minute(5))} – ${short(minute(55))}`);
  put($("l-cool"), `cool-down ${short(minute(55))} – ${short(minute(60))}`);
  [0, 15, 30, 45, 60].forEach((at, index) => put($("axis").children[index], short(minute(at))));
  const share = (now - begin) / length;
  $("now").style.left = `${share * 100}%`;
  $("now").firstElementChild.style.transform = `translateX(-${share * 100}%)`; // stays inside at both ends
  put($("now").firstElementChild, `now ${clock(now)}`);
  showChips(status, tasks, { now, begin, length });
  const count = (kind) => $("chips").getElementsByClassName(kind).length;
  $("timeline").setAttribute("aria-label", `${clock(now)} UTC, in the ${status.phase}. ${tasks.length} tasks: ${count("runs")} running, ${count("planned")} will start, ${count("over")} over, ${count("refused")} refused.`);
}

function showChips(status, tasks, cycle) {
  const since = new Map(status.running.map((run) => [run.task, Date.parse(run.since)]));
  // Of a task that the control file has wrong not even the minute may be known.
  const known = tasks.filter((task) => task.minute !== null).map((task) => ({ ...task, since: since.get(task.ref) }));
  const own = status.running.filter((run) => !tasks.some((task) => task.ref === run.task));
  const chips = [...known, ...own.map((run) => ({ ref: run.task, since: since.get(run.task) }))].map((task) => chipOf(task, cycle));
  place(chips, $("timeline").clientWidth);
  children($("chips"), chips, (chip) => chip.ref, () => make("b"), (element, chip) => {
    put(element, chip.text);
    element.className = `chip ${chip.kind}`;
    Object.assign(element.style, { left: `${chip.left}px`, width: `${chip.width}px`, top: `${chip.lane * 28 + 8}px` });
  });
  $("timeline").style.height = `${Math.max(2, ...chips.map((chip) => chip.lane + 1)) * 28 + 12}px`;
}

function chipOf(task, { now, begin, length }) {
  const planned = Date.parse(task.starts ?? "");
  const inCycle = planned >= begin && planned < begin + length;
  const at = task.since ?? (inCycle ? planned : begin + (length * task.minute) / 60);
  const kind = task.since !== undefined ? "runs" : task.decision === "refused" ? "refused" : inCycle && planned > now ? "planned" : "over";
  const text = { runs: "▶\uFE0E ", refused: "✕ ", over: "○ ", planned: "" }[kind] + task.ref;
  return { ref: task.ref, kind, text, from: Math.max(0, (at - begin) / length), to: kind === "runs" ? (now - begin) / length : 0 };
}

// Chips that would cover each other stand below each other: each takes the first lane that is free at its place.
function place(chips, room) {
  const ends = [];
  for (const chip of [...chips].sort((one, other) => one.from - other.from)) {
    const least = 8 * chip.text.length + 18;
    chip.left = Math.max(0, Math.min(chip.from * room, room - least));
    chip.width = Math.max(least, chip.to * room - chip.left);
    const free = ends.findIndex((end) => end <= chip.left);
    chip.lane = free < 0 ? ends.length : free;
    ends[chip.lane] = chip.left + chip.width + 4;
  }
}
