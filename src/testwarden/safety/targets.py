"""Which targets a control file may name: within what the operator lists. Pure; what a name resolves to is not its matter."""

from __future__ import annotations

from collections.abc import Iterable

ANY_BELOW = "*."


def is_within(target: str, allowed: Iterable[str]) -> bool:
    """Given a target (`host`, `host:port`, `*.host`) and what is allowed, return whether all that the target names is
    allowed. An allowed host without a port allows all ports; one with a port only that one."""
    host, port = _split(target)
    return any(_covers(_split(one), host, port) for one in allowed)


def _split(target: str) -> tuple[str, str]:
    """Return host and port, in lower case; the port is empty where none is named. `[::1]:80` and `::1` are understood."""
    text = target.strip().lower()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host.rstrip("."), port


def _covers(allowed: tuple[str, str], host: str, port: str) -> bool:
    pattern, only_port = allowed
    if only_port and only_port != port:
        return False
    if pattern.startswith(ANY_BELOW):
        return host.removeprefix(ANY_BELOW).endswith(pattern[1:]) or host == pattern
    return host == pattern
