from __future__ import annotations

import logging

import pytest

from testwarden.console.log_ring import MOST_LINES, LogRing

LOG = logging.getLogger("testwarden.test")


def test_lines_are_numbered_and_asked_for_by_number() -> None:
    with LogRing(()) as ring:
        LOG.warning("one")
        LOG.warning("two\nand more")
    last, lines = ring.lines(0)
    assert last == 3
    assert lines[0].endswith("- WARNING - one")
    assert lines[2] == "and more"
    assert ring.lines(2) == (3, ("and more",))
    assert ring.lines(3) == (3, ())


def test_secrets_are_masked_and_old_lines_forgotten() -> None:
    with LogRing(("s3cret",)) as ring:
        for number in range(MOST_LINES + 5):
            LOG.warning("%d s3cret", number)
    last, lines = ring.lines(0)
    assert (last, len(lines)) == (MOST_LINES + 5, MOST_LINES)
    assert lines[0].endswith("5 ********")


def test_what_libraries_tell_of_their_inner_life_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), LogRing(()) as ring:
        logging.getLogger("apscheduler").info("Added job")
        LOG.info("a task started")
    assert len(ring.lines(0)[1]) == 1


def test_outside_nothing_is_kept() -> None:
    ring = LogRing(())
    with ring:
        pass
    LOG.warning("too late")
    assert ring.lines(0) == (0, ())
