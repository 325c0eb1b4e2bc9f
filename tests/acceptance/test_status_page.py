"""The status page in a real browser, against a scripted agent: what is seen, pressed, typed, and what never happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from standins.api_door import MemoryDoor, served
from standins.browser import Browser, chromium
from standins.page_server import FIRST, StandInAgent, page_server
from testwarden.model import Decision, Verdict

HOSTILE = "</td><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;"
ISSUE = {
    "number": 7,
    "title": HOSTILE,
    "author": "reporter",
    "opened": "2026-03-01T12:20:00+00:00",
    "url": "https://github.com/example/testwarden/issues/7",
}
SWITCH = {"state": "active", "reason": f"the kill switch is active: issue 7 “{HOSTILE}” by reporter", "issue": ISSUE}
HELD = "the kill switch was active (issue 7 “see https://evil.invalid” by x, https://github.com/e/t/issues/7) and …"

# What has a text of its own and too little contrast (WCAG 2: 4.5) to the background behind it.
_PALE = """
const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => numbers(colour).slice(0, 3).map(part).reduce((sum, p, i) => sum + p * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => { for (; e; e = e.parentElement) {
  const colour = getComputedStyle(e).backgroundColor;
  if (numbers(colour)[3] !== 0) return colour;
} };
return [...document.body.querySelectorAll("*")].flatMap((e) => {
  const text = [...e.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
  if (!text || !e.checkVisibility()) return [];
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return contrast < 4.5 ? [`${text}: ${contrast.toFixed(2)}`] : [];
});
"""
_CHIPS = """
const chips = [...document.querySelectorAll("#chips > *")];
return chips.map((chip) => [chip.dataset.key, chip.className, chip.offsetLeft, chip.offsetWidth]);
"""
_COVERED = """
const boxes = [...document.querySelectorAll("#chips > *")].map((chip) => chip.getBoundingClientRect());
const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => over(a, b))).length;
"""


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """A browser with a quiet console. What a test causes there on purpose it reads, with `expect_console`."""
    one_browser.look()
    one_browser.console()
    yield one_browser
    assert one_browser.console() == []


@pytest.fixture
def agent(browser: Browser) -> Iterator[StandInAgent]:
    with serving(browser) as standin:
        yield standin


@contextmanager
def serving(browser: Browser, **options: Any) -> Iterator[StandInAgent]:
    """Run the stand-in until the browser has left its page."""
    with page_server(**options) as standin:
        yield standin
        browser.leave()


def expect_console(browser: Browser, *named: str) -> None:
    """Take the errors off the console; each has one of these texts, and each text is there."""
    errors = browser.console()
    strange = [error for error in errors if not any(name in error for name in named)]
    missing = [name for name in named if not any(name in error for error in errors)]
    assert (strange, missing) == ([], [])


def first_cells(browser: Browser, table: str) -> list[str]:
    return list(
        browser.ask(
            "return [...document.getElementById(arguments[0]).rows].map((row) => row.cells[0].innerText)", table
        )
    )


def test_a_running_test_is_seen_with_its_time_advancing(browser: Browser, agent: StandInAgent) -> None:
    agent.run("001", seconds=75)
    agent.run("own-1", kind="k6", seconds=700)
    browser.open(agent.url)
    browser.see("Running 2 tests", "001", "download tiny", "1 min 15 s", "own-1", "11 min 4")
    browser.see("1 min 18 s", within="#running")
    assert "12:23:1" in browser.text_of("#clock"), "the agent's clock, not the browser's"


def test_the_timeline_shows_phases_tasks_and_now(browser: Browser, agent: StandInAgent) -> None:
    agent.run("001", seconds=600)
    agent.tasks[1]["starts"] = "2026-03-01T13:20:12+00:00"  # in the next hour again
    browser.open(agent.url)
    browser.see("now 12:23:1", within="#timeline")
    browser.see("fetch period 12:00 – 12:05", "window 12:05 – 12:55", "cool-down 12:55 – 13:00", within=".legend")
    width = int(browser.ask("return document.getElementById('timeline').clientWidth"))
    chips = {
        key.split()[0]: (kinds, left / width * 60, size / width * 60) for key, kinds, left, size in browser.ask(_CHIPS)
    }
    assert {key: kinds for key, (kinds, _, _) in chips.items()} == {
        "001": "chip runs",
        "002": "chip over",
        "003": "chip planned",
        "004": "chip refused",
    }
    assert chips["001"][1] == pytest.approx(13.2, abs=0.3), "where it started"
    assert chips["001"][2] == pytest.approx(10.0, abs=0.4), "as long as it runs"
    assert chips["002"][1] == pytest.approx(20.0, abs=0.3), "where it was in this hour"
    assert chips["003"][1] == pytest.approx(31.2, abs=0.3)
    now = browser.ask("return document.getElementById('now').offsetLeft") / width * 60
    assert now == pytest.approx(23.25, abs=0.3)
    assert "1 running, 1 will start, 1 over, 1 refused" in browser.ask(
        "return document.getElementById('timeline').ariaLabel"
    )


def test_a_cycle_of_a_minute_has_seconds_on_its_timeline(browser: Browser) -> None:
    with serving(browser, first=datetime(2026, 3, 1, 12, 23, 4, tzinfo=timezone.utc)) as agent:
        agent.change(cycle_seconds=60)
        agent.tasks = [{**agent.tasks[2], "starts": "2026-03-01T12:23:40+00:00"}]
        browser.open(agent.url)
        browser.see("This cycle of 1 min 00 s", "fetch period 12:23:00 – 12:23:05", "cool-down 12:23:55 – 12:24:00")
        browser.until(lambda: browser.ask(_CHIPS)[0][1] == "chip planned", "the task will start")
        width = int(browser.ask("return document.getElementById('timeline').clientWidth"))
        assert browser.ask(_CHIPS)[0][2] / width * 60 == pytest.approx(40, abs=0.2)


def test_chips_of_tasks_in_every_minute_do_not_cover_each_other(browser: Browser, agent: StandInAgent) -> None:
    agent.tasks = [{**agent.tasks[0], "ref": f"{ref:03}", "minute": ref, "starts": None} for ref in range(5, 55)]
    browser.look(width=360)
    browser.open(agent.url)
    browser.until(lambda: len(browser.ask(_CHIPS)) == 50, "a chip for each task")
    assert browser.ask(_COVERED) == 0
    assert browser.ask("return document.documentElement.scrollWidth <= innerWidth")


def test_pause_is_seen_and_resumed(browser: Browser, agent: StandInAgent) -> None:
    agent.run("001")
    browser.open(agent.url)
    browser.see("Running 1 test", within="#state")
    browser.ask("const button = document.getElementById('pause'); button.click(); button.click()")
    browser.see("‖ Paused; 1 still running", within="#state")
    browser.see("Paused: nothing new starts", within="#told")
    browser.see("Nothing starts before somebody presses Resume.", within="#next-task")
    browser.press("Resume")
    browser.see("Running 1 test", within="#state")
    assert agent.orders == ["POST /v1/pause", "POST /v1/resume"], "pressed twice, asked once"


def test_run_now_starts_a_task_or_says_why_not(browser: Browser, agent: StandInAgent) -> None:
    browser.open(agent.url)
    browser.see("Nothing runs. Task 003 is next, in 7 min")
    browser.press("Run now task 002")
    browser.see("Task 002: allowed: 2 workers started.", within="#told")
    browser.see("002", within="#running")
    assert not browser.has_button("Run now task 004"), "refused"
    agent.change(paused=True)
    browser.press("Run now task 003")
    browser.see("Not done: paused by the operator.", within="#told")
    expect_console(browser, "409")


def test_what_k6_measures_is_seen_while_it_runs(browser: Browser, agent: StandInAgent) -> None:
    agent.run("own-1", kind="k6")
    browser.open(agent.url)
    browser.see("k6", within="#running")
    run = agent.status()["running"][0]
    agent.change(running=[{**run, "k6": {"vus": 20, "rps": 19.84, "rt95p": 0.0123, "failed": 0.005}}])
    browser.see("k6: 20 virtual users, 19.8 requests/s, 95 % within 12.3 ms, 0.5 % failed", within="#running")
    agent.change(running=[{**run, "k6": {"vus": 1, "rps": 0.0, "rt95p": None, "failed": None}}])
    browser.see("k6: 1 virtual user, 0 requests/s", within="#running")


def test_a_task_that_the_control_file_has_wrong_is_told_beside_the_good_ones(
    browser: Browser, agent: StandInAgent
) -> None:
    unknown = dict.fromkeys(("minute", "type", "filesize", "workers", "repeat", "offset", "timeout", "starts"))
    wrong = {**unknown, "ref": "001", "description": "", "decision": "refused", "reason": "001 is there already"}
    agent.tasks = [*agent.tasks, {**wrong, "running": False}]
    browser.open(agent.url)
    browser.see(
        "001 no description – – minute not known ✕ refused: 001 is there already", within="#tasks tr:last-child"
    )
    browser.press("Pause")
    browser.see("‖ Paused", within="#state")
    assert first_cells(browser, "tasks") == ["001", "002", "003", "004", "001"], "also when it was shown anew"
    assert len(browser.ask(_CHIPS)) == 4


def test_a_test_that_is_stopped_goes(browser: Browser, agent: StandInAgent) -> None:
    agent.run("001")
    agent.run("own-12", kind="k6")
    browser.open(agent.url)
    browser.press("Stop task 001")
    browser.see("Task 001 was asked to stop.", within="#told")
    browser.until(lambda: first_cells(browser, "running") == ["own-12"], "task 001 gone")
    browser.press("Stop task own-12")
    browser.see("Nothing runs")
    assert agent.orders == ["POST /v1/tasks/001/cancel", "POST /v1/tasks/own-12/cancel"]


def test_focus_stays_where_it_is_and_never_falls_off_the_page(browser: Browser, agent: StandInAgent) -> None:
    agent.run("001")
    agent.run("002")
    browser.open(agent.url)
    browser.see("002", within="#running")
    browser.tab_to("Stop task 002")
    agent.ended("001")
    browser.until(lambda: first_cells(browser, "running") == ["002"], "task 001 gone")
    assert browser.focused() == "Stop task 002"
    browser.type(Keys.ENTER)
    browser.until(lambda: browser.focused() == "Running now", "focus on the heading of what is gone")


def test_an_active_kill_switch_is_said_with_its_issue(browser: Browser, agent: StandInAgent) -> None:
    agent.change(kill_switch=SWITCH)
    browser.open(agent.url)
    browser.see("Stopped by the kill switch", within="#state")
    browser.see("Active: everything was stopped", "by reporter", within="[aria-labelledby=h-switch]")
    browser.see("Nothing runs. Nothing starts: the kill switch is active.", within="#no-running")
    browser.see("Open issue 7 on github.com", within="#switch-link")
    assert browser.ask("return document.getElementById('switch-link').href") == ISSUE["url"]
    agent.change(kill_switch={"state": "unknown", "reason": "no answer about the kill switch yet"})
    browser.see("Unknown: nothing starts", "no answer about the kill switch yet", within="[aria-labelledby=h-switch]")
    assert browser.text_of("#switch-link") == ""
    agent.change(kill_switch={"state": "clear", "reason": "the kill switch is clear"})
    browser.see("Clear: nobody asks", within="#switch")


@pytest.mark.parametrize(
    ("switch", "link"),
    [
        ({**SWITCH, "issue": {**ISSUE, "url": "javascript:document.title='owned'"}}, None),
        ({**SWITCH, "issue": {**ISSUE, "url": "javascript://github.com/%0Adocument.title='owned'"}}, None),
        ({**SWITCH, "issue": {**ISSUE, "url": "data:text/html,owned"}}, None),
        ({**SWITCH, "issue": None, "reason": HELD}, "https://github.com/e/t/issues/7"),
    ],
)
def test_only_http_addresses_of_issues_become_links(
    browser: Browser, agent: StandInAgent, switch: dict[str, Any], link: str | None
) -> None:
    agent.change(kill_switch=switch)
    browser.open(agent.url)
    browser.see("Stopped by the kill switch")
    shown = "const a = document.getElementById('switch-link'); return a.checkVisibility() ? a.href : null"
    assert browser.ask(shown) == link


def test_hostile_texts_are_texts(browser: Browser, agent: StandInAgent) -> None:
    sample = {**agent.status()["recent"][0], "reason": HOSTILE, "outcome": "client_error"}
    agent.tasks[0] |= {"description": HOSTILE, "reason": HOSTILE, "decision": "clamped"}
    agent.change(kill_switch=SWITCH, recent=[sample], agent=HOSTILE, source=HOSTILE, client="x" * 300)
    agent.say("01-03-2026 12:23:00 - ERROR - " + HOSTILE)
    browser.look(width=360)
    browser.open(agent.url)
    for part in ("#agent", "#switch-why", "#about", "#tasks", "#recent", "#log"):
        browser.see(HOSTILE, within=part)
    assert browser.ask("return document.querySelectorAll('body img, body script').length") == 0
    assert "owned" not in browser.driver.title.replace(HOSTILE, "")
    assert browser.ask("return document.documentElement.scrollWidth <= innerWidth"), "long words are broken"


def test_an_agent_that_goes_away_is_said_and_found_again(browser: Browser, agent: StandInAgent) -> None:
    agent.say("first line")
    browser.open(agent.url)
    browser.see("first line", "live", within="[aria-labelledby=h-log]")
    agent.go_away()
    browser.see("No answer from the agent since 12:23:", "UTC", within="#lost")
    browser.see("? Unknown", within="#state")
    browser.see("not connected", within="#log-state")
    browser.press("Pause")
    browser.see("Not done: the agent does not answer.", within="#told")
    agent.say("second line")
    agent.come_back()
    browser.see("The agent answers again.", within="#told")
    browser.see("second line", within="#log")
    assert browser.text_of("#lost") == ""
    assert browser.text_of("#log") == "first line second line", "nothing twice, nothing lost"
    assert agent.streams == ["", "1"]
    expect_console(browser, "net::ERR_CONNECTION_REFUSED")


def test_a_new_agent_is_a_new_log(browser: Browser, agent: StandInAgent) -> None:
    agent.say("old 1", "old 2")
    browser.open(agent.url)
    browser.see("old 2", within="#log")
    agent.restart("new 1", "new 2", "new 3")
    browser.see("old 2 – the agent was started anew – new 1 new 2 new 3", within="#log")
    errors = browser.console()
    assert all("net::ERR_" in error for error in errors), "only of the connection that ended"


def test_a_token_is_asked_once_and_a_wrong_one_told(browser: Browser) -> None:
    with serving(browser, token="s3cret") as agent:
        browser.open(agent.url)
        browser.see("This agent asks for its token")
        assert browser.ask("return document.activeElement.id") == "token"
        browser.type("wrong" + Keys.ENTER)
        browser.see("The agent did not accept this token.", within="#wrong")
        browser.type("s3crét" + Keys.ENTER)
        browser.see("The agent did not accept this token.", within="#wrong")
        expect_console(browser, "401")
        agent.say("a secret line")
        browser.type("s3cret" + Keys.ENTER)
        browser.see("Ready, in the window", "a secret line")
        browser.press("Pause")
        browser.see("‖ Paused", within="#state")
        assert browser.ask("return [sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        browser.open(agent.url)
        browser.see("‖ Paused", "a secret line")
        assert not browser.has_button("Open"), "asked once"


def test_the_keyboard_alone_is_enough(browser: Browser, agent: StandInAgent) -> None:
    agent.run("001")
    browser.open(agent.url)
    browser.see("Running 1 test")
    names = browser.tab_to("Pause")
    assert names == ["Skip to the content", "Pause"]
    outline = (
        "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth) >= 2]"
    )
    assert browser.ask(outline) == ["solid", True], "the focus is seen"
    browser.type(Keys.ENTER)
    browser.see("‖ Paused", within="#state")
    assert browser.focused() == "Resume"
    browser.type(Keys.SPACE)
    browser.see("Running 1 test", within="#state")
    agent.say("a line")
    browser.see("a line", within="#log")
    # Chromium lets Tab stop at whatever scrolls, too, so the log is the last one either way.
    assert browser.tab_to("a line") == [
        "Stop task 001",
        "Running task 001",
        "Run now task 002",
        "Run now task 003",
        "a line",
    ]


@pytest.mark.parametrize("width", [360, 1280])
def test_a_screen_reader_finds_landmarks_and_tables(browser: Browser, agent: StandInAgent, width: int) -> None:
    agent.run("001")
    browser.look(width=width)
    browser.open(agent.url)
    browser.see("Running 1 test")
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    parts = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert {
        ("main", ""),
        ("banner", ""),
        ("log", "Log – live, times in UTC"),
        ("heading", "testwarden volunteer-7"),
    } <= set(parts)
    tables = {name for role, name in parts if role == "table"}
    assert tables == {"Running now", "Tasks of the control file", "Last outcomes"}
    assert {"Running for", "Verdict", "Outcome"} <= {name for role, name in parts if role == "columnheader"}
    assert ("cell", "download tiny") in parts
    assert [part for part in parts if part[0] in ("button", "link", "image") and not part[1]] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_can_be_read_on_a_phone_and_in_the_dark(
    browser: Browser, agent: StandInAgent, width: int, dark: bool
) -> None:
    agent.run("001", seconds=75)
    agent.run("own-1", kind="k6", seconds=700)
    agent.say(
        "01-03-2026 12:22:01 - INFO - task 001: 5 workers started", "01-03-2026 12:22:31 - ERROR - the disk is full"
    )
    browser.look(width=width, dark=dark, calm=True)
    browser.open(agent.url)
    browser.see("Running 2 tests", "the disk is full")
    assert browser.ask("return [document.documentElement.scrollWidth <= innerWidth, innerWidth]") == [True, width]
    assert browser.ask(_PALE) == []
    assert browser.ask("return getComputedStyle(document.querySelector('.fill')).transitionDuration") == "0s"
    ground = browser.ask("return getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
    assert ground is dark
    browser.picture(f"status-{width}-{'dark' if dark else 'light'}")
    agent.change(kill_switch=SWITCH, budgets={"problem": "the ledger is garbled"})
    browser.see("Stopped by the kill switch", "The budgets are not known: the ledger is garbled")
    assert browser.ask(_PALE) == []
    assert browser.ask("return document.documentElement.scrollWidth <= innerWidth")


def test_budgets_are_bars_with_words(browser: Browser, agent: StandInAgent) -> None:
    browser.open(agent.url)
    browser.see(
        "Download 121 of 360 attempts in the last 60 min",
        "Quote 199 of 240 attempts in the last 60 min: nearly used up",
        "K6 12 of 12 attempts in the last 60 min: used up",
        "Data moved 12.3 GB of 200 GB in the last 24 h",
        "Funds spent 0.25 ANT of 2 ANT in the last 24 h",
        within="#budgets",
    )
    fills = "return [...document.querySelectorAll('.fill')].map((fill) => fill.style.width)"
    assert browser.ask(fills)[2:] == ["0%", "100%", "6.17284%", "12.5%"]
    none = {"used": "0", "limit": None}
    agent.change(budgets={"attempts": {}, "own": {"k6": {"used": 3, "limit": 3600}}, "spent": none})
    browser.see("K6, own tests 3 of 3,600 attempts in the last 60 min", within="#budgets")
    browser.see("Funds spent 0 ANT in the last 24 h; no cap is set", within="#budgets")


def test_an_agent_with_nothing_to_show_says_so_usefully(browser: Browser, agent: StandInAgent) -> None:
    agent.tasks = []
    agent.change(next=[], recent=[], commit="", clock_skew=None)
    browser.open(agent.url)
    browser.see("Nothing runs. No test is due.", "No tasks are known. They come with the next fetch")
    browser.see("Nothing was measured yet", "No task is due any more in this cycle.", "the source tells no time")


def test_the_log_is_bounded_and_follows_its_end_unless_somebody_reads(browser: Browser, agent: StandInAgent) -> None:
    where = "const l = document.getElementById('log'); return l.scrollHeight - l.scrollTop - l.clientHeight"
    browser.open(agent.url)
    browser.see("live", within="#log-state")
    agent.say(*(f"line {number} <" for number in range(700)))
    browser.see("line 699 <", within="#log")
    assert browser.ask("return document.getElementById('log').childElementCount") == 500
    assert browser.ask(where) < 2
    assert not browser.has_button("Go to the newest line")
    browser.ask("document.getElementById('log').scrollTop = 100")
    agent.say("line 700 <")
    browser.see("line 700 <", within="#log")
    assert browser.ask(where) > 100, "it stays where somebody reads"
    browser.press("Go to the newest line")
    assert browser.ask(where) < 2


def test_a_hidden_tab_asks_for_nothing(browser: Browser, agent: StandInAgent) -> None:
    def looks(page: str) -> int:
        return sum(referer.endswith(page) for referer in agent.looks)

    browser.open(agent.url + "/?first")
    browser.see("Ready, in the window")
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(agent.url + "/?second")
    browser.until(lambda: looks("?second") >= 2, "two looks of the second tab")
    before = looks("?first"), looks("?second")
    browser.until(lambda: looks("?second") >= before[1] + 2, "two more")
    assert looks("?first") == before[0]
    browser.driver.close()
    browser.driver.switch_to.window(first)
    browser.until(lambda: looks("?first") > before[0], "a look of the tab that is seen again")


class PageDoor(MemoryDoor):
    """What the real server asks of an agent, answered from the data of the stand-in, which itself serves nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.agent = StandInAgent(token="", first=FIRST)

    def snapshot(self) -> dict[str, Any]:
        return self.agent.status()

    def tasks(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.agent.tasks)

    def start_task(self, ref: str) -> Verdict:
        _, answer = self.agent.start(ref)
        return Verdict(Decision(answer["decision"]), answer["reason"])

    def cancel(self, ref: str) -> bool:
        return self.agent.ended(ref)

    def pause(self, paused: bool) -> None:
        self.agent.change(paused=paused)


def test_the_real_server_serves_the_page_and_does_what_it_asks(browser: Browser, tmp_path: Path) -> None:
    door = PageDoor(tmp_path)
    door.agent.run("001", seconds=75)
    door.agent.run("own-1", kind="k6")
    door.say("first line")
    with served(door, token="s3cret") as server:
        browser.open(server.url)
        browser.see("This agent asks for its token")
        browser.type("s3cret" + Keys.ENTER)
        browser.see("Running 2 tests", "1 min 1", "first line", "live")
        browser.press("Pause")
        browser.see("‖ Paused", within="#state")
        browser.press("Run now task 002")
        browser.see("Not done: paused by the operator.", within="#told")
        browser.press("Resume")
        browser.see("Running 2 tests", within="#state")
        browser.press("Run now task 002")
        browser.see("Task 002: allowed", within="#told")
        browser.press("Stop task 001")
        browser.press("Stop task own-1")
        browser.until(lambda: first_cells(browser, "running") == ["002"], "only 002 runs")
        door.say("second line")
        browser.see("first line second line", within="#log")
        policy = "return fetch('/').then((answer) => answer.headers.get('Content-Security-Policy'))"
        assert "default-src 'self'" in browser.ask(policy)
        expect_console(browser, "401", "409")
        browser.leave()
