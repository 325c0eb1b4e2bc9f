"""The folder of one worker: emptied after each attempt, deleted at the end.

Making and deleting folders is what costs most of all that the agent does for an attempt (more than a millisecond each on
some disks), so those that every attempt of a worker needs are made once.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Workplace:
    """One worker's folder below the work folder, made when it is first needed."""

    def __init__(self, work: Path, name: str) -> None:
        self._work = work
        self._name = name
        self._folder: Path | None = None

    def folder(self) -> Path:
        """Return the folder. It is empty but for empty folders. Raise OSError if it cannot be made."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self._name}-", dir=self._work))
            (self._folder / "home").mkdir()
        return self._folder

    @property
    def home(self) -> Path:
        """Return the folder for what a client keeps for itself."""
        return self.folder() / "home"

    def sweep(self) -> None:
        """Empty the folder. Where that fails, the next attempt gets another one."""
        try:
            if self._folder is not None:
                _sweep(str(self._folder))
        except OSError:
            self.delete()

    def delete(self) -> None:
        """Delete the folder, as well as that can be done."""
        if self._folder is not None:
            _remove(self._folder)
            self._folder = None


def _sweep(folder: str, *, keep_folders: bool = True) -> None:
    """Delete everything in a folder; its direct subfolders stay, with nothing in them. No link is followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 - each attempt does this: no Path is made for it
            elif keep_folders:
                _sweep(entry.path, keep_folders=False)
            else:
                _remove(Path(entry.path))


def _remove(folder: Path) -> None:
    def let_in(call: Callable[..., Any], path: str, _problem: object) -> None:
        """A client may have taken its folders' permissions away."""
        try:
            Path(path).parent.chmod(stat.S_IRWXU)
            if not Path(path).is_symlink():
                Path(path).chmod(stat.S_IRWXU)
            call(path)
        except OSError:
            pass  # it goes when the work folder is emptied at the next start

    shutil.rmtree(folder, onerror=let_in)
