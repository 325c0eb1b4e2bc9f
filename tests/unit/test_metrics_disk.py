from __future__ import annotations

from pathlib import Path

import pytest

from testwarden.metrics import disk


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"a\n", b"bc\n"],
        [b"x" * 999 + b"\n"] * 1000,
        [b"short\n", b"y" * (3 * disk.BLOCK) + b"\n", b"z\n"],
        [b"y" * (disk.BLOCK - 1) + b"\n"] * 3,
    ],
)
@pytest.mark.parametrize("torn", [b"", b"torn", b"\0" * (2 * disk.BLOCK)], ids=["whole", "torn", "nuls"])
def test_files_are_read_in_whole_lines_from_either_end(tmp_path: Path, lines: list[bytes], torn: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"".join(lines) + torn)
    forward = list(disk.lines_forward(path))
    assert all(block.endswith(b"\n") for block in forward)
    assert b"".join(forward) == b"".join(lines)
    assert b"".join(disk.blocks_forward(path)) == b"".join(lines) + torn

    backward = list(disk.lines_backward(path))
    assert b"".join(block for _, block in reversed(backward)) == b"".join(lines) + torn
    content = path.read_bytes()
    for offset, block in backward:
        assert content[offset:].startswith(block)
        assert offset == 0 or content[offset - 1 : offset] == b"\n"
    assert disk.end_of_lines(path) == len(b"".join(lines))


def test_reading_can_begin_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\nbc\nd\n")
    assert list(disk.lines_forward(tmp_path / "file", 2)) == [b"bc\nd\n"]


def test_a_file_that_does_not_exist_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert (list(disk.lines_forward(path)), list(disk.lines_backward(path))) == ([], [])
    assert (disk.size_of(path), disk.end_of_lines(path)) == (0, 0)


def test_what_the_system_writes_in_parts_is_written_whole(tmp_path: Path) -> None:
    class Hesitant(disk.Disk):
        @staticmethod
        def write(descriptor: int, data: bytes) -> int:
            return disk.Disk.write(descriptor, data[:3])

    door = Hesitant()
    descriptor = door.open_append(tmp_path / "file")
    door.write_all(descriptor, b"0123456789")
    door.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"0123456789"
