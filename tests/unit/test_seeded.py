"""Seeded content: the right bytes, and nothing left behind when it cannot be written."""

from __future__ import annotations

import hashlib
import resource
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testwarden import seeded
from testwarden.model import GIB, KIB, MIB

# Made with OpenSSL 3.0.19, as the docstring of seeded.py says; md5sum over the output.
KNOWN = [
    (0, 1, "52b016db15c28529a2aa2f191c364dfa"),
    (0, 33, "8f5a39afb55713f169e57417975e189d"),
    (1, 131072, "60c911a199d9fb5c4fc7065a37424f0c"),
    (42, 33, "fb24454cbc9b1206d8932c90e459593c"),
    (42, 5000001, "52f871fbae52494e0520edb83ecb9be7"),
    (123456789012345678, 131072, "3c87368cfb1876a87d81aaa177ae14cd"),
]


def no_hasher_is_left() -> bool:
    return not any(thread.name.startswith("seeded-md5") for thread in threading.enumerate())


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """While inside, the kernel refuses to write more than `size` bytes into one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("seed", "size", "md5"), KNOWN)
def test_content_is_what_openssl_makes_of_the_seed(seed: int, size: int, md5: str, tmp_path: Path) -> None:
    assert seeded.write(seed, size, tmp_path / "content") == md5
    content = (tmp_path / "content").read_bytes()
    assert len(content) == size
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
    assert b"".join(seeded.chunks(seed, size)) == content
    assert seeded.md5(seed, size) == md5


def test_the_first_block_of_a_seed_is_known() -> None:
    assert b"".join(seeded.chunks(42, 16)).hex() == "8aaff6712c9c053e2afe6557c13e7703"


@pytest.mark.parametrize("size", [0, 1, seeded.CHUNK - 1, seeded.CHUNK, seeded.CHUNK + 1, 3 * seeded.CHUNK])
def test_shorter_content_is_the_beginning_of_longer_content(size: int) -> None:
    longer = b"".join(seeded.chunks(7, 4 * seeded.CHUNK))
    assert b"".join(seeded.chunks(7, size)) == longer[:size]


@pytest.mark.parametrize(("seed", "size"), [(-1, 5), (5, -1)])
def test_negative_numbers_are_refused(seed: int, size: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        next(seeded.chunks(seed, size))


def test_memory_does_not_grow_with_the_size(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        seeded.write(1, 32 * MIB, tmp_path / "content")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


def test_a_stop_ends_the_writing_and_leaves_neither_file_nor_thread(tmp_path: Path) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(seeded.SeedingStopped):
        seeded.write(1, 100 * GIB, tmp_path / "content", stop)
    assert list(tmp_path.iterdir()) == []
    assert no_hasher_is_left()


@pytest.mark.parametrize("size", [128 * KIB, 100 * GIB])
def test_a_file_system_that_refuses_is_an_os_error_and_leaves_neither_file_nor_thread(
    size: int, tmp_path: Path
) -> None:
    # The limit lies inside a chunk: the kernel takes the first part of it and refuses the rest.
    with files_of_at_most(100 * KIB + 1), pytest.raises(OSError, match="too large"):
        seeded.write(1, size, tmp_path / "content")
    assert list(tmp_path.iterdir()) == []
    assert no_hasher_is_left()


def test_a_file_that_is_there_already_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        seeded.write(1, 5, path)
    assert path.read_bytes() == b"mine"


def test_an_address_says_seed_and_size() -> None:
    assert seeded.address(42, 131072) == "seed-42-131072"
    assert seeded.parse_address("seed-42-131072") == (42, 131072)


@pytest.mark.parametrize(
    "text",
    ["", "seed-1", "seed-01-5", "seed-1-05", "seed--1-5", "seed-1-5\n", "seed-1-5x", "seed-\u0661-5", "f" * 64,
     "seed-1-" + "9" * 13, "seed-" + "9" * 5000 + "-1"],
)  # fmt: skip
def test_anything_else_is_no_address_of_seeded_content(text: str) -> None:
    assert seeded.parse_address(text) is None
