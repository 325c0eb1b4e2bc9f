"""Which testwarden this is."""

from __future__ import annotations

from pathlib import Path

from testwarden import __date__, __version__


def version_line() -> str:
    """Return name, version, date and, where it runs from a checkout, the commit."""
    return f"testwarden {__version__} ({__date__}, commit {checkout_commit() or 'unknown: not a checkout'})"


def checkout_commit() -> str:
    """Return the short id of the commit that is checked out, or an empty text. Reads git's files, so needs no git."""
    git = Path(__file__).parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        return (head if not head.startswith("ref: ") else _resolve(git, head[5:]))[:12]
    except OSError:
        return ""


def _resolve(git: Path, ref: str) -> str:
    loose = git / ref
    if loose.exists():
        return loose.read_text(encoding="utf-8").strip()
    packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in packed if line.endswith(f" {ref}")), "")
