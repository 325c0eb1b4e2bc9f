"""Uploads spend the operator's funds: only with a key and a cap, quoted first, noted down; and the secrets stay secret."""

from __future__ import annotations

import signal
from decimal import Decimal
from pathlib import Path

import pytest

from acceptance.steered import TOKEN, NewSteered, Steered
from standins.agent_process import READY, Agent
from standins.control_folder import task
from standins.family import environment_of
from testwarden.metrics.line_protocol import parse

KEY = "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d"
PRICE = "0.000000000000012345"
"""What the stand-ins ask, in ANT."""
MARGIN_AND_TWO = "0.000000000000031"
"""Enough for two uploads with what is reserved beyond the quote, not for three."""
HANGS_AT_UPLOADS = """\
read -r python < "${0%/*}/python"
case " $* " in *" file upload "*) exec "$python" "${0%/*}/misbehave.py" hang ;; esac"""
TELLS_THE_KEY = 'case " $* " in *" file upload "*) echo "Error: payment error: bad key $SECRET_KEY" >&2; exit 1 ;; esac'


def paying(steered: Steered, *tasks: str, key: str = "", cap: str = "") -> Steered:
    """Give the folder a client that costs money. The secrets stand in `.env`, so that no environment has them."""
    steered.from_folder(*tasks)
    steered.place.install_ant()
    del steered.place.settings["GITHUB__TOKEN"]
    secrets = f"TESTWARDEN_GITHUB__TOKEN={TOKEN}\n" + (f"TESTWARDEN_NETWORK__SECRET_KEY={key}\n" if key else "")
    (steered.place.folder / ".env").write_text(secrets)
    if cap:
        steered.place.settings["LIMITS__SPEND_PER_DAY"] = cap
    return steered


def calls(steered: Steered) -> list[str]:
    path = steered.place.bin / "calls"
    return [line for line in path.read_text().splitlines() if " file " in line] if path.exists() else []


def wrap(steered: Steered, script: str) -> None:
    """Put a script in front of the stand-in."""
    ant = steered.place.bin / "ant"
    ant.rename(ant.with_name("real-ant"))
    ant.write_text(f'#!/bin/sh\n{script}\nexec "${{0%/*}}/real-ant" "$@"\n')
    ant.chmod(0o755)


def upload(agent: Agent, ref: str, outcome: str) -> None:
    said = agent.said()
    agent.start_task(ref)
    agent.wait_for(rf"task {ref} worker 1: upload tiny: {outcome}", said)


def files_with(folder: Path, secret: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_an_upload_is_quoted_paid_and_noted_and_the_cap_holds(new_steered: NewSteered) -> None:
    tasks = [task(f"{n:03}", "Upload") for n in range(1, 4)]
    steered = paying(new_steered("paying"), *tasks, key=KEY, cap=MARGIN_AND_TWO)
    place = steered.place
    with place.start("run", terminal=True) as agent:
        agent.wait_for(READY)
        upload(agent, "001", f"ok, 3000 bytes in .* {PRICE} ANT")
        agent.type("s")
        agent.wait_for(rf"ANT spent +{PRICE} +{MARGIN_AND_TWO} ")
        upload(agent, "002", "ok")
        upload(agent, "003", "client_error: .* would pass limits.spend_per_day")
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    verbs = [line.partition(" file ")[2].split()[0] for line in calls(steered)]
    assert verbs == ["cost", "upload", "cost", "upload", "cost"]
    with_key = [f"SECRET_KEY={KEY} " in line for line in calls(steered)]
    assert with_key == [False, True, False, True, False]
    samples = [parse(line) for line in place.lines()]
    assert [sample.fields.get("cost") for sample in samples] == [float(PRICE), float(PRICE), None]
    with place.start("run") as agent:
        agent.wait_for(READY)
        # A restart gives no money back.
        spent = f"{2 * Decimal(PRICE):f}"
        place.status_when(lambda now: bool(now["budgets"]["spent"]["used"] == spent))


@pytest.mark.parametrize(
    ("key", "cap", "missing"),
    [
        ("", "", "network.secret_key and limits.spend_per_day"),
        ("", "1", "network.secret_key"),
        (KEY, "", "limits.spend_per_day"),
    ],
)
def test_without_key_and_cap_an_upload_is_refused(new_steered: NewSteered, key: str, cap: str, missing: str) -> None:
    steered = paying(new_steered("poor"), task("001", "Upload"), key=key, cap=cap)
    with steered.place.start("run", "--log-format", "json", terminal=True) as agent:
        agent.wait_for(READY)
        agent.wait_for(f"refused: an upload spends your funds: set {missing} to allow it")
        agent.type("r001\r")
        agent.wait_for("task 001: refused: an upload spends your funds")
        assert agent.end(signal.SIGTERM).code == 0
    assert calls(steered) == []
    assert steered.place.lines() == []


def test_the_secrets_reach_the_upload_process_and_nothing_else(new_steered: NewSteered) -> None:
    tasks = (task("001", "Upload"), task("002", "Upload", timeout=600), task("003", "Quote"))
    steered = paying(new_steered("secrets"), *tasks, key="0x" + KEY, cap="1")
    place = steered.place
    wrap(steered, HANGS_AT_UPLOADS)
    with place.start("run", "--log-level", "debug", terminal=True) as agent:
        agent.wait_for(READY)
        agent.start_task("002")
        (client,) = agent.clients(1)
        pids = [agent.pid, *(one.pid for one in agent.family())]
        assert [pid for pid in pids if KEY.encode() in environment_of(pid)] == [client]
        assert [pid for pid in pids if TOKEN.encode() in environment_of(pid)] == []
        agent.type("s")
        agent.wait_for("budgets")
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    for secret in (KEY, TOKEN):
        assert secret not in ending.output
        assert files_with(place.cache, secret) == []


def test_a_client_that_prints_the_key_does_not_get_it_into_log_or_metrics(new_steered: NewSteered) -> None:
    steered = paying(new_steered("indiscreet"), task("001", "Upload", retry=0), key=KEY, cap="1")
    place = steered.place
    wrap(steered, TELLS_THE_KEY)
    with place.start("run", terminal=True) as agent:
        agent.wait_for(READY)
        upload(agent, "001", r".*bad key \*\*\*")
        ending = agent.end(signal.SIGTERM)
    assert KEY not in ending.output
    assert files_with(place.cache, KEY) == []
    assert len(place.lines()) == 1
