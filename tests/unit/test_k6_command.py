from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from testwarden.clients.k6_numbers import K6Numbers
from testwarden.k6_command import Asked, UsageError, build_test
from testwarden.k6_session import progress_line


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "a.js"
    path.write_bytes(b"export default () => {}")
    return path


def test_the_command_line_becomes_an_own_test(script: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_bytes(b"1,2")
    asked = Asked(script, 3, "1m30s", 5, 7, ("A.Example.org:443",), ("NAME=a=b", "EMPTY="), data, ("--http-debug",))
    test = build_test(asked)
    load = test.k6
    assert load is not None
    assert (load.vus, load.duration, load.iterations, load.rate) == (3, 90.0, 5, 7)
    assert (load.targets, load.env) == (("a.example.org:443",), (("NAME", "a=b"), ("EMPTY", "")))
    assert (load.params, test.timeout, test.title) == (("--http-debug",), None, "a.js")
    assert load.data is not None
    assert dict(test.files) == {load.script.sha256: script.read_bytes(), load.data.sha256: b"1,2"}
    assert load.script.sha256 == hashlib.sha256(script.read_bytes()).hexdigest()


def test_without_targets_the_network_is_open(script: Path) -> None:
    load = build_test(Asked(script)).k6
    assert load is not None
    assert load.targets is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"duration": "1x"}, "--duration is '1x'"),
        ({"targets": ("https://host",)}, "--target: "),
        ({"env": ("NAME",)}, "--env 'NAME' is not NAME=VALUE"),
        ({"env": ("=x",)}, "is not NAME=VALUE"),
        ({"params": ("--out", "json=/etc/x")}, "--out json=/etc/x is refused"),
        ({"data": Path("/nowhere/at/all")}, "/nowhere/at/all: No such file"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(script: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_test(Asked(script, **change))  # type: ignore[arg-type]  # the parameters name real fields


def test_progress_is_one_line_with_units() -> None:
    assert progress_line(3, None) == "3 s: starting"
    numbers = K6Numbers(vus=2, requests=74, rps=19.03, rt95p=0.005, failed=0.5)
    assert progress_line(4, numbers) == "4 s: 2 VUs, 74 requests, 19.0/s, p95 5.0 ms, 50.0% failed"
