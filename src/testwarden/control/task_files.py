"""The files that tasks need, from the commit of the control file: fetched, and held against the digests it names."""

from __future__ import annotations

from dataclasses import dataclass, replace

from testwarden.control.control_file import ControlFile
from testwarden.control.kept_files import KeptFiles, digest_of
from testwarden.control.source import CONTROL_FILE, Source
from testwarden.errors import SourceBadAnswer, SourceNotFound
from testwarden.model import MIB, Finding, Level, ScriptFile, Task

MOST_SCRIPT = 1 * MIB
MOST_DATA = 32 * MIB
MOST_FILES = 20
"""Different files of one fetch: each can cost a request, and without a token there are 60 an hour."""
MOST_TOGETHER = 64 * MIB
"""Bytes of all files of one fetch: they are kept in memory for the hour."""


@dataclass(frozen=True)
class _Needed:
    """One file of one task."""

    option: str
    file: ScriptFile
    most_bytes: int


class _Unusable(Exception):
    """A file cannot be used; carries a sentence."""


def gather(
    control: ControlFile, commit: str, source: Source, kept: KeptFiles | None
) -> tuple[ControlFile, dict[str, bytes]]:
    """Given a control file, its commit, where both are from and what was kept of earlier fetches (None: nothing is),
    return it without the tasks whose files cannot be used, and the files of the others by their SHA-256.

    Raise SourceError where the source cannot be asked.
    """
    if not commit:
        kept = None  # A folder's files cost no request, and who changes one there wants to hear what is wrong with it.
    if kept is not None and control.tasks:
        # Before anything is added, so that what is on disk stays bounded even if no fetch comes to its end. A control file
        # that cannot be read has no tasks; it will be mended, and then it needs what it needed before.
        kept.keep_only({needed.file.sha256 for task in control.tasks for needed in _needed(task)})
    gathering = _Gathering(commit, source, kept)
    good: list[Task] = []
    findings = list(control.findings)
    files: dict[str, bytes] = {}
    for task in control.tasks:
        try:
            files.update({needed.file.sha256: gathering.content(needed) for needed in _needed(task)})
            good.append(task)
        except _Unusable as why:
            findings.append(Finding(CONTROL_FILE, task.line, Level.ERROR, str(why), task.ref))
    findings.sort(key=lambda finding: finding.line)
    return replace(control, tasks=tuple(good), findings=tuple(findings)), files


def _needed(task: Task) -> list[_Needed]:
    if task.k6 is None:
        return []
    script = _Needed("script", task.k6.script, MOST_SCRIPT)
    return [script] if task.k6.data is None else [script, _Needed("data", task.k6.data, MOST_DATA)]


class _Gathering:
    """One walk through the files of a commit. Each is asked for once, whether it is good or not."""

    def __init__(self, commit: str, source: Source, kept: KeptFiles | None) -> None:
        self._commit = commit
        self._source = source
        self._kept = kept
        self._known: dict[_Needed, bytes | _Unusable] = {}
        self._bytes = 0

    def content(self, needed: _Needed) -> bytes:
        """Return what a file holds. Raise _Unusable, or SourceError where the source cannot be asked."""
        if needed not in self._known:
            try:
                self._known[needed] = self._bounded(needed)
            except _Unusable as why:
                self._known[needed] = why
        found = self._known[needed]
        if isinstance(found, _Unusable):
            raise found
        return found

    def _bounded(self, needed: _Needed) -> bytes:
        if len(self._known) >= MOST_FILES:
            raise _Unusable(f"the tasks before this one need {MOST_FILES} files already, and no more are fetched")
        content = self._load(needed)
        if content is None:
            content = self._fetch(needed)
        if self._bytes + len(content) > MOST_TOGETHER:
            most = f"{MOST_TOGETHER:,} bytes are allowed for all"
            raise _Unusable(f"{_name(needed)} is too large beside those of the tasks before this one; {most}")
        self._bytes += len(content)
        return content

    def _load(self, needed: _Needed) -> bytes | None:
        content = self._kept.load(needed.file.sha256) if self._kept is not None else None
        return content if content is not None and len(content) <= needed.most_bytes else None

    def _fetch(self, needed: _Needed) -> bytes:
        try:
            content = self._source.fetch_file(self._commit, needed.file.path, needed.most_bytes)
        except SourceNotFound:
            raise _Unusable(f"{_name(needed)} is not there; its place is beside the control file") from None
        except SourceBadAnswer as problem:
            raise _Unusable(f"{_name(needed)} cannot be used: {problem}") from None
        found = digest_of(content)
        if found != needed.file.sha256:
            told = f"{_name(needed)} has sha256 {found}, the control file says {needed.file.sha256}"
            raise _Unusable(f"{told}; if the change is meant, write the first one into the control file")
        if self._kept is not None:
            self._kept.store(content)
        return content


def _name(needed: _Needed) -> str:
    return f"{needed.option} {needed.file.path}"
