"""Becomes another program, having set what a shell or a terminal would have: `launch.py [OPTION …] -- PROGRAM ARG …`.

Options: `terminal` (lead the session of the terminal at stdin), `nohup` (HUP is ignored, as by nohup), `close=N` (start
without this descriptor). HUP and INT have their default otherwise, whatever the tests themselves were started with.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios


def main(arguments: list[str]) -> None:
    end = arguments.index("--")
    options, program = arguments[:end], arguments[end + 1 :]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if "nohup" in options else signal.SIG_DFL)
    if "terminal" in options:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for option in options:
        if option.startswith("close="):
            os.close(int(option.removeprefix("close=")))
    os.execvp(program[0], program)  # noqa: S606 - to become the program is what this is for


if __name__ == "__main__":
    main(sys.argv[1:])
