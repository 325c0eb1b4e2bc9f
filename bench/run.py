"""Measure everything that the project has bounds for, and print one table: `make bench`.

Give names of modules (`recorder seeded agent …`) to measure only those.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path

MODULES = (
    "seeded",
    "recorder",
    "catalogue",
    "process",
    "attempt",
    "agent",
    "k6",
    "api",
    "report",
    "import",
    "kill_switch",
)


def machine() -> str:
    """Return processor, cores, memory, system and Python in one line."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.2f}"
    )


def main(names: list[str]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    print(machine())
    for name in names or MODULES:
        module = importlib.import_module(f"bench_{name}")
        for what, value, unit in module.measure():
            print(f"{name:12} {what:66} {value:14,.3f} {unit}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
