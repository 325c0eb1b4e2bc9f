"""A small agent to be killed: `small_agent.py RECORD FOLDER MODE TIMEOUT`. It holds a keeper and runs one client.

Its own pid and the keeper's go to `agent.pid` and `keeper.pid` in FOLDER, which is the client's working folder, too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from testwarden.clients import process
from testwarden.clients.stop import Stop

MISBEHAVE = Path(__file__).with_name("misbehave.py")


def main(record: Path, folder: Path, mode: str, timeout: float) -> None:
    process.HARD_MARGIN = 0.2
    with process.Keeper(record) as keeper:
        (folder / "agent.pid").write_text(str(os.getpid()))
        (folder / "keeper.pid").write_text(str(keeper.pid))
        argv = (sys.executable, "-I", "-S", str(MISBEHAVE), mode)
        command = process.Command(argv, process.clean_environment(folder), folder, grace=0.1)
        ended = keeper.run(command, Stop(), timeout)
    (folder / "ended.txt").write_text(repr(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
