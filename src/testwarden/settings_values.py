"""The kinds of values that a setting can have: each function checks one and says, where it refuses, what is allowed.

They raise ValueError only, because that is what pydantic turns into a finding.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from testwarden.model import FileSize

BYTES = "bytes"
"""Marks a number of bytes among a field's metadata."""
ONLY_LOWER = "a limit may be lowered, never raised"
MASK = "********"

_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_bytes(value: object) -> int:
    """Given `"10GB"`, `"512 MiB"` or a whole number of bytes, return bytes. Raise ValueError with what is allowed."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    text = value.upper() if isinstance(value, str) else ""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMGT]?I?B)?", text)
    if found is None or (found[2] or "B") not in _UNITS:
        raise ValueError('a size as text, for example "500MB", "10GB" or "2GiB"')
    return int(Decimal(found[1]) * _UNITS[found[2] or "B"])


def no_more_than(most: int, sentence: str) -> AfterValidator:
    """Given the largest value and what is allowed in words, return the check."""

    def check(value: int) -> int:
        if value > most:
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


def no_less_than(least: int, sentence: str) -> AfterValidator:
    """Given the smallest value and what is allowed in words, return the check."""

    def check(value: int) -> int:
        if value < least:
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


def check_printable(value: str) -> str:
    """Given a text, return it if it can be shown as it is."""
    if not value or not value.isprintable():
        raise ValueError("text without control characters, not empty")
    return value


def _tag(value: str) -> str:
    """Becomes a tag of every sample, where a backslash at the end would swallow the next one."""
    if not 1 <= len(value) <= 64 or not value.isprintable() or "\\" in value or value != value.strip():
        raise ValueError("1 to 64 printable characters, no backslash, no space at either end")
    return value


def _folder(value: object) -> Path:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("the path of a folder, not empty")
    return Path(os.path.expanduser(value))  # noqa: PTH111 - Path.expanduser raises for a user that does not exist


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) and one and one.isprintable() for one in value):
        return tuple(value)
    raise ValueError('a list of texts, for example ["a", "b"]')


def to_hosts(value: object) -> tuple[str, ...]:
    """Given a list of host names or addresses, return them in lower case."""
    hosts = _texts(value)
    if not all(re.fullmatch(r"[A-Za-z0-9._:\[\]-]+", host) for host in hosts):
        raise ValueError('a list of host names without scheme and path, for example ["files.example.org"]')
    return tuple(host.lower() for host in hosts)


def to_targets(value: object) -> tuple[str, ...]:
    """Given a list of host names or addresses, each with a port or without, `*.` in front for all names below, return
    them in lower case."""
    targets = _texts(value)
    wrong = 'a list of host names or addresses, for example ["files.example.org", "*.example.net:443"]'
    for target in targets:
        host = target.lower().removeprefix("*.")
        if not re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?|[0-9a-f:.]+", host) or not host.strip("."):
            raise ValueError(wrong)
    return tuple(target.lower() for target in targets)


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError('an address and a port, for example "127.0.0.1:8888" or "[::1]:8888"')
    if int(port) > 65535:
        raise ValueError("a port from 0 to 65535; 0: any free one")
    return value


def _file(value: object) -> Path:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("the path of a file, not empty")
    return Path(os.path.expanduser(value))  # noqa: PTH111 - as for folders


def to_file_size(value: object) -> FileSize:
    """Given the name of a file size, return the size."""
    for size in FileSize:
        if value == size.label:
            return size
    raise ValueError(f"one of {', '.join(size.label for size in FileSize)}")


def to_amount(value: object) -> Decimal:
    """Given an amount of ANT as text, return it. A float would already have lost what was written."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,18})?", value):
        raise ValueError('an amount of ANT as text, zero or more, for example "0.5"')
    return Decimal(value)


def check_repository(value: str) -> str:
    """Given the name of a repository, return it if GitHub could have one of that name."""
    if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", value) or value.split("/")[1] in {".", ".."}:
        raise ValueError('a repository in the form "owner/name"')
    return value


def _url(value: str) -> str:
    wrong = ValueError('a URL in the form "https://host/path", without user, password, query and fragment')
    try:
        url = urlsplit(value)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        raise wrong from None
    if not usable or "@" in url.netloc or url.query or url.fragment or not value.isprintable() or " " in value:
        raise wrong
    return value.rstrip("/")


def _secret(value: SecretStr) -> SecretStr:
    """A line end in a token would only show at the first request, as an odd error of the HTTP library."""
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("ASCII characters without spaces and line ends")
    return value


def is_loopback(url: str) -> bool:
    """Given a URL, return whether its host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def show(known: FieldInfo, value: object) -> str:
    """Given a setting and its value, return it as a settings file would have it, a secret masked."""
    if value is None:
        return '""'
    if isinstance(value, SecretStr):
        return f'"{MASK}"'
    if BYTES in known.metadata and isinstance(value, int):
        return f'"{show_bytes(value)}"'
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    text = value.label if isinstance(value, FileSize) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(text) if isinstance(text, int) else json.dumps(str(text), ensure_ascii=False)


def show_written(known: FieldInfo, value: object) -> str:
    """Given a setting and what somebody wrote for it, right or wrong, return it for a message: no secret, not long."""
    if "SecretStr" in str(known.annotation):
        return f'"{MASK}"'
    try:
        text = json.dumps(value, default=str)
    except ValueError:
        text = "…"
    hidden = re.sub(r"//[^/@]*@", f"//{MASK}@", text)
    return hidden if len(hidden) <= 100 else f"{hidden[:100]}…"


def show_bytes(count: int) -> str:
    """Given bytes, return them in the largest unit that shows them exactly."""
    units = {name: size for name, size in _UNITS.items() if count and count % size == 0}
    name = max(units, key=lambda unit: units[unit]) if units else "B"
    return f"{count // _UNITS[name]}{name.replace('I', 'i')}"


def host_name() -> str:
    """Return the name of this machine, fit to be a tag."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:64] or "agent"


Tag = Annotated[str, AfterValidator(_tag)]
Listen = Annotated[str, AfterValidator(_listen)]
File = Annotated[Path, BeforeValidator(_file)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Size = Annotated[int, BeforeValidator(parse_bytes), BYTES]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Url = Annotated[str, AfterValidator(_url)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
