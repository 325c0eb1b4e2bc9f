"""Writes dashboards/overview.json and dashboards/agent.json: `python3 InfluxDB/make_dashboards.py`.

Change a panel here, not in the JSON; a test compares both, and runs every query against a real InfluxDB. InfluxQL, because
InfluxDB 1, 2 and 3 all understand it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SOURCE = {"type": "influxdb", "uid": "testwarden"}
"""The data source of grafana/provisioning/datasources/influxdb.yml."""
ERRORS = ("client_killed", "client_error", "network_error", "data_loss", "unknown_error")
NOT_OK = ("md5_invalid", "thresholds_failed", *ERRORS)
BUDGETS = ("download", "quote", "upload", "k6", "bytes", "ant")
BAD, FAIR, GOOD = "#D55E00", "#E69F00", "#0072B2"
"""Of Okabe's and Ito's palette: colours that colour-blind people can tell apart."""

OF_AGENT = '$timeFilter AND "agent" =~ /^${agent:regex}$/'
_OTHERS = '"country" =~ /^${country:regex}$/ AND "type" =~ /^${type:regex}$/ AND "filesize" =~ /^${size:regex}$/'
WHERE = f"{OF_AGENT} AND {_OTHERS}"
SUMMARY, ATTEMPTS, AGENT = "testwarden_summary", "testwarden", "testwarden_agent"
RATE = '100 * sum("ok") / sum("count")'
TIMES = {
    "min": 'min("exec_time")',
    "mean": 'mean("exec_time")',
    "p95": 'percentile("exec_time", 95)',
    "max": 'max("exec_time")',
}
HOUR, STEP = "time(1h)", "time($__interval)"

Panel = dict[str, Any]


def query(what: str, of: str, where: str = WHERE, by: str = "", end: str = "") -> str:
    """Return InfluxQL."""
    group = f" GROUP BY {by}" if by else ""
    return f'SELECT {what} FROM "{of}" WHERE {where}{group} {end}'.rstrip()  # noqa: S608 - all of it is written here


def panel(kind: str, title: str, said: str, width: int, text: str, **more: Any) -> Panel:
    """Return a panel of 24ths of the width; `more`: unit, alias, options, custom, steps, mappings, step, height."""
    table = kind in ("table", "stat") and "alias" not in more
    target = {"refId": "A", "datasource": SOURCE, "rawQuery": True, "query": text}
    target |= {"resultFormat": "table"} if table else {"resultFormat": "time_series", "alias": more.get("alias", "")}
    defaults: dict[str, Any] = {"unit": more.get("unit", "short"), "custom": more.get("custom", {})}
    if "steps" in more:
        steps = [{"color": color, "value": value} for value, color in more["steps"]]
        defaults |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
    if "mappings" in more:
        options = {str(value): {"text": text_, "color": color} for value, text_, color in more["mappings"]}
        defaults["mappings"] = [{"type": "value", "options": options}]
    return {
        "type": kind,
        "title": title,
        "description": said,
        "datasource": SOURCE,
        "interval": more.get("step", "1m"),
        "gridPos": {"w": width, "h": more.get("height", 8)},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": more.get("options", {}),
        "targets": [target],
    }


def stat(title: str, said: str, text: str, width: int = 6, **more: Any) -> Panel:
    """Return a panel with one value; strings, too."""
    options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": more.get("fields", "")}, "graphMode": "none"}
    return panel("stat", title, said, width, text, options=options, height=4, **more)


def bars(title: str, said: str, text: str, alias: str, width: int = 12) -> Panel:
    """Return stacked bars of counts."""
    custom = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal"}}
    return panel("timeseries", title, said, width, text, alias=alias, custom=custom, step="1h")


def lines(title: str, said: str, text: str, alias: str, unit: str, width: int = 12, **more: Any) -> Panel:
    """Return curves; `log`: on a logarithmic scale, `points`: without lines."""
    custom: dict[str, Any] = {"showPoints": "always", "spanNulls": True}
    custom |= {"scaleDistribution": {"type": "log", "log": 10}} if more.get("log") else {}
    custom |= {"drawStyle": "points"} if more.get("points") else {}
    options = {"legend": {"displayMode": "table", "placement": "right"}} if more.get("log") else {}
    return panel("timeseries", title, said, width, text, alias=alias, unit=unit, custom=custom, options=options)


def table(title: str, said: str, text: str, width: int = 12, unit: str = "none") -> Panel:
    """Return a table."""
    return panel("table", title, said, width, text, unit=unit)


def variable(name: str, tag: str, of: str, *, single: bool = False) -> dict[str, Any]:
    """Return a variable with the values of a tag."""
    more = {} if single else {"includeAll": True, "allValue": ".*", "multi": True}
    more |= {} if single else {"current": {"text": "All", "value": "$__all"}}
    text = f'SHOW TAG VALUES FROM "{of}" WITH KEY = "{tag}"'
    return {"type": "query", "name": name, "datasource": SOURCE, "query": text, "refresh": 2, "sort": 1, **more}


def laid_out(panels: list[Panel]) -> list[Panel]:
    """Return the panels with numbers and places, in rows of 24."""
    x = y = height = 0
    for number, one in enumerate(panels, 1):
        place = one["gridPos"]
        if x + place["w"] > 24:
            x, y, height = 0, y + height, 0
        one |= {"id": number, "gridPos": {**place, "x": x, "y": y}}
        x, height = x + place["w"], max(height, place["h"])
    return panels


def dashboard(uid: str, title: str, said: str, variables: list[dict[str, Any]], panels: list[Panel]) -> dict[str, Any]:
    """Return what Grafana reads."""
    link = {"type": "dashboards", "tags": ["testwarden"], "title": "testwarden", "keepTime": True, "includeVars": True}
    return {
        "uid": uid,
        "title": title,
        "description": said,
        "tags": ["testwarden"],
        "schemaVersion": 39,
        "editable": True,
        "timezone": "utc",
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "links": [link],
        "templating": {"list": variables},
        "panels": laid_out(panels),
    }


def variables(*, one_agent: bool) -> list[dict[str, Any]]:
    """Return the four variables."""
    others = {"country": "country", "type": "type", "size": "filesize"}
    return [
        variable("agent", "agent", SUMMARY, single=one_agent),
        *(variable(name, tag, SUMMARY) for name, tag in others.items()),
    ]


PERCENT = ((None, BAD), (80, FAIR), (95, GOOD))
SWITCH = ((0, "clear", GOOD), (1, "active", BAD), (2, "unknown", FAIR))
COLUMNS = [
    "task",
    "type",
    "filesize",
    "worker",
    "attempt",
    "client",
    "ok",
    "exec_time",
    "bytes",
    "cost",
    "reason",
    "commit",
]


def overview() -> dict[str, Any]:
    """Return the dashboard of all agents."""
    each = query('sum("count") AS "n"', SUMMARY, by='"agent"')
    agents = f'SELECT count("n") AS "agents" FROM ({each})'  # noqa: S608 - all of it is written here
    errors = ", ".join(f'sum("{kind}") AS "{kind}"' for kind in NOT_OK)
    times = ", ".join(f'{call} AS "{name}"' for name, call in TIMES.items())
    strip = {"showValue": "never", "rowHeight": 0.9, "legend": {"showLegend": False}}
    panels = [
        stat("Tests", "Attempts in the time that is shown.", query('sum("count") AS "tests"', SUMMARY)),
        stat("Success rate", "Of all attempts.", query(f'{RATE} AS "ok"', SUMMARY), unit="percent", steps=PERCENT),
        stat("Agents seen", "Agents that measured anything.", agents),
        stat("Moved", "Bytes up and down.", query('sum("bytes") AS "bytes"', SUMMARY), unit="decbytes"),
        bars("Tests per hour, by type", "Attempts.",
             query('sum("count")', SUMMARY, by=f'{HOUR}, "type" fill(none)'), "$tag_type"),
        lines("Success rate, by type", "Of the attempts of an hour.",
              query(RATE, SUMMARY, by=f'{HOUR}, "type" fill(none)'), "$tag_type", "percent"),
        bars("Errors per hour, by kind", "Attempts that were not ok.", query(errors, SUMMARY, by=f"{HOUR} fill(none)"), "$col"),
        panel("status-history", "Outcomes", "Success rate of each agent, hour by hour; nothing where it measured nothing.", 12,
              query(RATE, SUMMARY, by=f'{HOUR}, "agent" fill(none)'), alias="$tag_agent", unit="percent", steps=PERCENT,
              options=strip, step="1h", custom={"fillOpacity": 90}),
        lines("Exec time, by size", "Of all attempts, failed ones too. Logarithmic.",
              query(times, ATTEMPTS, by=f'{HOUR}, "filesize" fill(none)'), "$tag_filesize $col", "s", log=True),
        table("Exec time, by type and size", "In the time that is shown.",
              query(f'count("exec_time") AS "attempts", {times}', ATTEMPTS, by='"type", "filesize"')),
        lines("Cost of quotes, by size", "In ANT.",
              query('mean("cost") AS "mean", max("cost") AS "max"', ATTEMPTS, f"{WHERE} AND \"type\" = 'quote'",
                    f'{HOUR}, "filesize" fill(none)'), "$tag_filesize $col", "suffix: ANT"),
        table("Agents", "What each measured in the time that is shown.",
              query(f'sum("count") AS "tests", {RATE} AS "ok, percent", sum("bytes") AS "bytes"', SUMMARY,
                    by='"agent", "country", "provision", "connection"')),
    ]  # fmt: skip
    return dashboard("testwarden-overview", "testwarden: overview", "All agents.", variables(one_agent=False), panels)


def agent() -> dict[str, Any]:
    """Return the dashboard of one agent."""
    used = ", ".join(f'100 * max("{name}_used") / max("{name}_limit") AS "{name}"' for name in BUDGETS)
    now = ", ".join(f'last("{name}_{part}") AS "{name} {part}"' for name in BUDGETS for part in ("used", "limit"))
    shown = ", ".join(f'"{name}"' for name in COLUMNS)
    k6 = f"{WHERE} AND \"type\" = 'k6'"
    newest = "ORDER BY time DESC LIMIT 500"
    panels = [
        stat("Kill switch", "Now.", query('last("kill_switch") AS "state"', AGENT, OF_AGENT), 5, mappings=SWITCH,
             steps=((None, GOOD), (1, BAD), (2, FAIR))),
        stat("Paused", "By the operator.", query('last("paused") AS "paused"', AGENT, OF_AGENT), 4, fields="/^paused$/",
             mappings=(("true", "paused", FAIR), ("false", "no", GOOD))),
        stat("Workers", "That run now.", query('last("running") AS "workers"', AGENT, OF_AGENT), 5),
        stat("Success rate", "Of all attempts.", query(f'{RATE} AS "ok"', SUMMARY), 5, unit="percent", steps=PERCENT),
        stat("Control file", "Its commit.", query('last("commit") AS "commit"', AGENT, OF_AGENT), 5, fields="/^commit$/"),
        lines("Budgets", "Used, in percent of the limit: attempts in 3600 s, bytes and ANT in 24 h.",
              query(used, AGENT, OF_AGENT, f"{STEP} fill(none)"), "$col", "percent"),
        table("Budgets now", "Attempts, bytes, ANT.", query(now, AGENT, OF_AGENT)),
        panel("state-timeline", "Kill switch", "Blank: the agent did not run.", 12,
              query('max("kill_switch")', AGENT, OF_AGENT, f"{STEP} fill(none)"), alias="kill switch", mappings=SWITCH,
              options={"mergeValues": True, "showValue": "auto"}, custom={"fillOpacity": 80}),
        table("Kill-switch periods", "Each minute in which nothing could start because of it.",
              query('"kill_switch" AS "state", "kill_switch_reason" AS "reason"', AGENT, f'{OF_AGENT} AND "kill_switch" > 0',
                    end=newest)),
        bars("Refused attempts per hour", "Of all workers.",
             query('sum("refused")', AGENT, OF_AGENT, f"{HOUR} fill(none)"), "refused"),
        table("Reasons for refusals", "Of each minute; most frequent first.",
              query('"refused", "refused_reasons" AS "reasons"', AGENT, f'{OF_AGENT} AND "refused" > 0', end=newest)),
        lines("Attempts", "Exec time of each. Logarithmic.", query('"exec_time"', ATTEMPTS, by='"type"'), "$tag_type", "s", 24,
              log=True, points=True),
        table("Attempts one by one", "The newest 500; exec time in seconds, cost in ANT.",
              query(shown, ATTEMPTS, end=newest), 24),
        lines("k6: requests a second", "Of each run.", query('"rps"', ATTEMPTS, k6, '"task"'), "task $tag_task", "reqps", 8),
        lines("k6: p95", "95 % of the HTTP requests took no longer.", query('"duration_p95"', ATTEMPTS, k6, '"task"'),
              "task $tag_task", "s", 8),
        lines("k6: failed", "Which part of the HTTP requests failed.", query('"requests_failed_rate"', ATTEMPTS, k6, '"task"'),
              "task $tag_task", "percentunit", 8),
    ]  # fmt: skip
    return dashboard("testwarden-agent", "testwarden: agent", "One agent.", variables(one_agent=True), panels)


def files() -> dict[str, str]:
    """Return the dashboards: file name → content."""
    made = {"overview.json": overview(), "agent.json": agent()}
    return {name: json.dumps(board, indent=1, ensure_ascii=False) + "\n" for name, board in made.items()}


if __name__ == "__main__":
    folder = Path(__file__).parent / "dashboards"
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
