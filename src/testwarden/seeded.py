"""Seeded content: bytes that follow from a number, the same on every machine.

It is the keystream of AES-128 in counter mode; the key is the first 16 bytes of the SHA-256 of the seed's decimal
digits in ASCII, and the counter begins at zero. Anybody can make it without this program:

    openssl enc -aes-128-ctr -K $(printf %s SEED | sha256sum | head -c 32) -iv 0 < /dev/zero | head -c SIZE
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from testwarden.errors import TestwardenError
from testwarden.model import KIB

CHUNK = 64 * KIB
"""Bytes: small enough that their memory is reused at once; with a MiB the kernel maps new pages for each one."""

_ADDRESS = re.compile(r"seed-(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,11})")


class SeedingStopped(TestwardenError):
    """Writing seeded content was asked to stop."""


def chunks(seed: int, size: int) -> Iterator[bytes]:
    """Given a seed and a size in bytes, return the content piece by piece. Raise ValueError if one is negative."""
    if seed < 0 or size < 0:
        raise ValueError(f"seed {seed} and size {size} must not be negative")
    # Imported where it is used: it takes 50 ms, and a start should not wait for it.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = hashlib.sha256(str(seed).encode("ascii")).digest()[:16]
    keystream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(CHUNK)
    for _ in range(size // CHUNK):
        yield keystream.update(zeros)
    if size % CHUNK:
        yield keystream.update(zeros[: size % CHUNK])


def write(seed: int, size: int, path: Path, stop: Callable[[], bool] | None = None) -> str:
    """Given a seed, a size in bytes and a path where nothing is yet, write the content there; return its md5 in hex.

    `stop` is asked all the time, from two threads. Raise SeedingStopped when it says so, and OSError as the file system
    does (a full disk, a file that is there already). After an error there is no partial file.

    md5 takes longer than all the rest, and generating takes next to nothing. So a second thread hashes content that it
    generates for itself: the two never wait for each other, however unevenly the disk takes the data, and hold no
    buffers.
    """
    with path.open("xb", buffering=0) as file:
        try:
            return _write(seed, size, file, stop or _never)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def address(seed: int, size: int) -> str:
    """Given a seed and a size in bytes, return the address at which the embedded network has this content."""
    return f"seed-{seed}-{size}"


def parse_address(text: str) -> tuple[int, int] | None:
    """Given an address, return the seed and the size if it is one of seeded content."""
    match = _ADDRESS.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


def _write(seed: int, size: int, file: FileIO, stop: Callable[[], bool]) -> str:
    given_up = threading.Event()
    with ThreadPoolExecutor(1, "seeded-md5") as second:
        try:
            digest = second.submit(md5, seed, size, lambda: given_up.is_set() or stop())
            for chunk in chunks(seed, size):
                if stop():
                    raise SeedingStopped
                _write_all(file, chunk)
            return digest.result()
        finally:
            given_up.set()  # before the pool waits for its thread


def md5(seed: int, size: int, stop: Callable[[], bool] | None = None) -> str:
    """Given a seed, a size in bytes and what is asked all the time, return the md5 of the content in hex.

    Raise SeedingStopped when `stop` says so.
    """
    stop = stop or _never
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks(seed, size):
        if stop():
            raise SeedingStopped
        digest.update(chunk)
    return digest.hexdigest()


def _write_all(file: FileIO, chunk: bytes) -> None:
    """A file system that is nearly full takes a part, and refuses the rest at the next try."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _never() -> bool:
    return False
