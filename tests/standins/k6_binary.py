"""The real k6, for tests that need it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def need_k6() -> list[Path]:
    """Return the programs to test with: TESTWARDEN_TEST_K6 or k6 on PATH, and TESTWARDEN_TEST_K6_V1 where that is set.

    Without any: skip; in CI (environment CI=true): fail.
    """
    found = [os.environ.get("TESTWARDEN_TEST_K6") or shutil.which("k6"), os.environ.get("TESTWARDEN_TEST_K6_V1")]
    binaries = [Path(path).resolve() for path in found if path]
    if not binaries:
        message = "k6 is not installed: go install go.k6.io/k6/v2@v2.2.0, or set TESTWARDEN_TEST_K6"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return binaries
