// The status page. What an agent says has texts of strangers in it (tasks, issues, logs): they become text nodes, never
// HTML, and an address becomes a link only when it is http(s). Times are the agent's own, in UTC.

import { $, children, make, put, rows } from "./dom.js";
import { showHour } from "./hour.js";
import { follow } from "./log.js";
import { capital, clock, measured, named, number, size, span, test, time } from "./words.js";

const POLL = 2000; // ms between two looks at the agent
const PATIENCE = 8000; // ms that an answer may take

let status = null; // the newest answers
let tasks = [];
let ahead = 0; // ms by which the agent's clock is ahead of this machine's
let answered = 0; // the agent's time of its newest answer, ms
let lost = false;
let locked = false; // waits for a token
let look = 0; // number of the newest look: an older one that comes late is not shown
let timer = 0;
const sent = new Set(); // orders that have no answer yet

const agentNow = () => Date.now() + ahead;
const at = (text) => time(text, agentNow());
const tell = (text) => put($("told"), `${clock(agentNow())} UTC: ${text}`);

// ---- asking the agent

// The tab's own store: gone with the tab. localStorage would leave the token on the disk, for every later tab to use.
const token = () => sessionStorage.getItem("token");

async function ask(path, options = {}) {
  const used = token();
  const headers = { ...options.headers, ...(used && { Authorization: `Bearer ${used}` }) };
  const answer = await fetch(path, { cache: "no-store", ...options, headers });
  if (answer.status === 401) {
    if (used === token()) lock(used !== null);
    throw new Error("the agent asks for its token");
  }
  return answer;
}

async function json(path, method = "GET") {
  const answer = await ask(path, { method, signal: AbortSignal.timeout(PATIENCE) });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || body.reason || `the agent answered with HTTP status ${answer.status}`);
  return body;
}

function lock(wrong) {
  sessionStorage.removeItem("token");
  put($("wrong"), wrong ? "The agent did not accept this token." : "");
  if (locked) return;
  locked = true;
  for (const id of ["clock", "state", "lost", "told"]) put($(id), "");
  $("main").hidden = $("pause").hidden = true;
  $("door").hidden = false;
  $("token").focus();
}

function unlock(event) {
  event.preventDefault();
  const typed = $("token").value.trim();
  $("token").value = "";
  if (!/^[!-~]+$/.test(typed)) return lock(true); // cannot be sent in a header
  sessionStorage.setItem("token", typed);
  put($("wrong"), "");
  locked = false;
  poll();
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden || locked) return;
  const mine = ++look;
  let problem = null;
  try {
    const [newStatus, newTasks] = await Promise.all([json("/v1/status"), json("/v1/tasks")]);
    if (mine !== look) return;
    take(newStatus, newTasks.tasks);
  } catch (error) {
    problem = error;
  }
  if (mine !== look || locked) return;
  timer = setTimeout(poll, POLL);
  lost = problem !== null;
  if (lost) showLost(problem);
  else show();
}

function take(newStatus, newTasks) {
  // `updated` is cut to seconds, so the largest difference is the truest; one that is far off means a clock was set.
  const difference = Date.parse(newStatus.updated) - Date.now();
  ahead = Math.abs(difference - ahead) < 2000 ? Math.max(ahead, difference) : difference;
  answered = agentNow();
  if (lost) tell("The agent answers again.");
  if (lost || $("main").hidden) log.wake();
  [status, tasks] = [newStatus, newTasks];
  $("door").hidden = true;
  $("main").hidden = $("pause").hidden = false;
}

async function order(path, told) {
  if (sent.has(path)) return; // pressed twice
  sent.add(path);
  try {
    tell(told(await json(path, "POST")));
  } catch (error) {
    tell(`Not done: ${plain(error)}.`);
  }
  sent.delete(path);
  poll();
}

const orderFor = (ref, verb) => `/v1/tasks/${encodeURIComponent(ref)}/${verb}`;
const plain = (error) => (error instanceof TypeError || error.name === "TimeoutError" ? "the agent does not answer" : error.message.replace(/\.$/, ""));

// ---- showing it

function show() {
  if (lost || locked || !status) return;
  put($("lost"), "");
  const now = agentNow();
  put($("agent"), status.agent);
  put($("clock"), `${clock(now)} UTC, by the agent’s clock`);
  showState();
  showRunning(now);
  showHour(status, tasks, now);
  showSwitch(status.kill_switch);
  showNext(now);
  showBudgets(status.budgets);
  showAbout();
  showTasks();
  showRecent();
}

function showLost(problem) {
  const since = answered ? ` since ${clock(answered)} UTC` : "";
  const answers = !(problem instanceof TypeError || problem.name === "TimeoutError");
  put($("lost"), answers ? `The agent has been in trouble${since}: ${plain(problem)}.` : `No answer from the agent${since}. What is shown is what it said last.`);
  put($("state"), "? Unknown", "bad");
  document.title = "no answer – testwarden";
}

function showState() {
  const [text, kind] = state();
  put($("state"), text, kind);
  put($("pause"), status.paused ? "Resume" : "Pause");
  document.title = `${text.slice(2).trim()} – ${status.agent} – testwarden`;
}

function state() {
  const count = status.running.length;
  if (status.stopping) return [`■ Stopping: ${status.stopping}`, "bad"];
  if (status.kill_switch.state === "active") return ["■ Stopped by the kill switch", "bad"];
  if (status.kill_switch.state !== "clear") return ["? Nothing may start: the kill switch is unknown", "bad"];
  if (status.paused) return [count ? `‖ Paused; ${count} still running` : "‖ Paused", "warn"];
  if (count) return [`▶\uFE0E Running ${count} ${count === 1 ? "test" : "tests"}`, "good"];
  return [`● Ready, in the ${status.phase}`, "good"];
}

// Why nothing starts; empty as a rule.
function why() {
  const { state: known } = status.kill_switch;
  if (known !== "clear") return `Nothing starts: the kill switch is ${known}.`;
  return status.paused ? "Nothing starts before somebody presses Resume." : "";
}

function showRunning(now) {
  const next = status.next.find((due) => due.name.startsWith("task "));
  const due = next ? `${named(next.name)} is next, in ${span(Date.parse(next.at) - now)}.` : "No test is due.";
  put($("no-running"), `Nothing runs. ${why() || due}`);
  rows("running", status.running, (run) => run.task, (run) => [
    run.task,
    test(run) + measured(run.k6),
    span(now - Date.parse(run.since)),
    at(run.since),
    String(run.workers),
    { label: "Stop", of: `task ${run.task}`, off: false, press: () => order(orderFor(run.task, "cancel"), () => `Task ${run.task} was asked to stop.`) },
  ]);
}

function showTasks() {
  const running = new Set(status.running.map((run) => run.task));
  rows("tasks", tasks, (task) => task.ref, (task) => {
    const runs = running.has(task.ref);
    const start = () => order(orderFor(task.ref, "start"), (verdict) => `Task ${task.ref}: ${verdict.decision}: ${verdict.reason}.`);
    const sign = { allowed: "✓", clamped: "↓", refused: "✕" }[task.decision] ?? "?";
    return [
      task.ref,
      task.description || "no description",
      test(task),
      `${task.workers ?? "–"}${task.repeat ? ", repeating" : ""}`,
      runs ? "running" : task.starts ? at(task.starts) : `minute ${task.minute ?? "not known"}`,
      [`${sign} ${task.decision}${task.decision === "allowed" ? "" : `: ${task.reason}`}`, { clamped: "warn", refused: "bad" }[task.decision] ?? ""],
      task.decision === "refused" ? "" : { label: runs ? "Running" : "Run now", of: `task ${task.ref}`, off: runs, press: start },
    ];
  });
}

function showRecent() {
  rows("recent", [...status.recent].reverse(), (_, index) => index, (sample) => [
    at(sample.ended),
    sample.task,
    test(sample),
    sample.outcome === "ok" ? ["✓ ok", ""] : [`✕ ${sample.outcome.replaceAll("_", " ")}`, "bad"],
    `${sample.exec_time.toFixed(2)} s`,
    size(sample.bytes),
    sample.reason || "–",
  ]);
}

function showSwitch({ state: known, reason, issue }) {
  const words = {
    clear: ["✓ Clear: nobody asks the agents to stop.", "good"],
    active: ["■ Active: everything was stopped and nothing starts. Once the issue is closed, testing resumes with the next fetch at :00.", "bad"],
  };
  put($("switch"), ...(words[known] ?? ["? Unknown: nothing starts before there is an answer.", "bad"]));
  put($("switch-why"), known === "clear" ? "" : reason);
  // Without the issue itself, its address is the last one of the sentence: what stands before is somebody's title.
  const address = known === "clear" ? "" : issue?.url ?? reason.match(/https?:\/\/[^\s)]+/g)?.at(-1) ?? "";
  const safe = /^https?:\/\//i.test(address) && URL.canParse(address);
  const link = $("switch-link");
  link.hidden = !safe;
  link.href = safe ? address : "/";
  put(link, safe && issue?.number ? `Open issue ${issue.number} on ${new URL(address).host}` : address);
}

function showNext(now) {
  const task = status.next.find((due) => due.name.startsWith("task "));
  const when = (due) => `${named(due.name)} at ${at(due.at)} UTC, in ${span(Date.parse(due.at) - now)}`;
  put($("next-task"), why() || (task ? when(task) : "No task is due any more in this cycle."));
  const others = status.next.filter((due) => due !== task).slice(0, 4);
  children($("next"), others, (due) => due.name, () => make("li"), (item, due) => put(item, when(due)));
}

function showBudgets(budgets) {
  $("no-budgets").hidden = !budgets.problem;
  put($("no-budgets"), budgets.problem ? `The budgets are not known: ${budgets.problem}` : "");
  const attempts = (entries, of) => Object.entries(entries ?? {}).map(([type, entry]) => [capital(type) + of, entry, number, "attempts in the last 60 min"]);
  const day = [["Data moved", budgets.bytes, size, "in the last 24 h"], ["Funds spent", budgets.spent, (n) => `${n} ANT`, "in the last 24 h"]];
  const known = [...attempts(budgets.attempts, ""), ...attempts(budgets.own, ", own tests"), ...day].filter((row) => row[1]);
  const create = () => {
    const item = make("li");
    item.append(make("b"), " ", make("span"), make("div", "bar"));
    item.lastChild.append(make("div", "fill"));
    item.lastChild.setAttribute("aria-hidden", "true"); // the words say the same
    return item;
  };
  children($("budgets"), known, (row) => row[0], create, (item, [name, { used, limit }, words, period]) => {
    const share = limit === null ? 0 : Number(limit) ? Math.min(1, Number(used) / Number(limit)) : 1;
    const [kind, note] = share >= 1 ? ["full", ": used up"] : share >= 0.8 ? ["near", ": nearly used up"] : ["", ""];
    put(item.children[0], name);
    put(item.children[1], limit === null ? `${words(used)} ${period}; no cap is set, so none may be spent` : `${words(used)} of ${words(limit)} ${period}${note}`);
    item.className = kind;
    item.lastChild.hidden = limit === null;
    item.lastChild.firstChild.style.width = `${share * 100}%`;
  });
}

function showAbout() {
  const skew = status.clock_skew;
  const facts = [
    ["Version", status.version],
    ["Started", `${at(status.started)} UTC`],
    ["Tasks from", status.source],
    ["Commit", status.commit || "none"],
    ["Client", status.client],
    ["Clock", skew === null ? "the source tells no time" : `${skew > 0 ? "+" : ""}${skew.toFixed(1)} s against the source`],
  ];
  children($("about"), facts.flat(), (_, index) => index, () => make($("about").childElementCount % 2 ? "dd" : "dt"), put);
}

// ---- begin

const log = follow(ask, async () => (await json("/v1/status")).started, () => !document.hidden && !locked);
$("door").addEventListener("submit", unlock);
$("pause").addEventListener("click", () => {
  const told = ({ paused }) => (paused ? "Paused: nothing new starts; what runs goes on." : "Resumed.");
  order(status.paused ? "/v1/resume" : "/v1/pause", told);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) log.sleep(); // a browser has few connections for one agent, and a hidden tab needs none
  else {
    poll();
    log.wake();
  }
});
setInterval(show, 1000);
addEventListener("resize", show);
poll();
