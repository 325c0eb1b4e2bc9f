// The log, as server-sent events: read by fetch, because EventSource cannot send the Authorization header.

import { $, make, put } from "./dom.js";

const SILENCE = 45000; // ms without a byte; the agent sends a heartbeat every 15 s
const LINES = 500; // that are kept
const FIRST = 1000; // ms before the second try
const SLOWEST = 30000; // ms, the longest pause between two tries

// Given what fetches with the token, what tells when the agent was started, and whether the log is wanted now: `wake`
// connects at once, `sleep` ends the connection.
export function follow(ask, startOf, wanted) {
  let stream = null; // ends the reading
  let last = ""; // id of the newest line
  let start = ""; // of the agent that it comes from
  let pause = FIRST; // ms before the next try
  let timer = 0;

  async function read() {
    if (stream || !wanted()) return;
    clearTimeout(timer);
    const mine = (stream = new AbortController());
    try {
      await readLines(mine);
    } catch {
      // Gone, or told to end: below it is asked again. Whether the agent is there at all is said by the other looks.
    }
    stream = null;
    put($("log-state"), "– not connected");
    timer = setTimeout(read, pause);
    pause = Math.min(pause * 2, SLOWEST);
  }

  function wake() {
    pause = FIRST;
    read();
  }

  async function readLines(mine) {
    await lookForNewAgent();
    const answer = await ask("/v1/log", { signal: mine.signal, headers: { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) } });
    if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
    put($("log-state"), "– live, times in UTC");
    // What is there already is not read out; what comes from now on is.
    setTimeout(() => $("log").setAttribute("aria-busy", "false"), 1000);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const silence = setTimeout(() => mine.abort(), SILENCE);
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      pause = FIRST;
      const events = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = events.pop();
      take(events.map(parsed));
    }
  }

  function take(events) {
    last = events.findLast((event) => event.id)?.id ?? last;
    append(events.filter((event) => event.data.length).map((event) => event.data.join("\n")));
  }

  // A new agent counts its lines from 1 again.
  async function lookForNewAgent() {
    const found = await startOf();
    if (start && start !== found) {
      append(["– the agent was started anew –"]);
      last = "";
    }
    start = found;
  }

  function sleep() {
    stream?.abort();
  }

  return { wake, sleep };
}

function parsed(event) {
  const fields = event.split("\n");
  const values = (name) => fields.filter((field) => field.startsWith(`${name}:`)).map((field) => field.slice(name.length + 1).replace(/^ /, ""));
  return { id: values("id").at(-1), data: values("data") };
}

function append(lines) {
  const log = $("log");
  const follows = atEnd();
  const kinds = { WARNING: "warn", ERROR: "bad", CRITICAL: "bad" };
  log.append(...lines.slice(-LINES).map((line) => make("div", kinds[/^\S+ \S+ - ([A-Z]+) - /.exec(line)?.[1]], line)));
  while (log.childElementCount > LINES) log.firstElementChild.remove();
  if (follows) log.scrollTop = log.scrollHeight; // who has scrolled up is reading
  $("newest").hidden = atEnd();
}

const atEnd = () => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 24;

$("log").addEventListener("scroll", () => ($("newest").hidden = atEnd()));
$("newest").addEventListener("click", () => {
  $("log").scrollTop = $("log").scrollHeight;
  $("log").focus();
});
