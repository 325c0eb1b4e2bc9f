"""The files in `test-files/`: nothing to complain about, and true md5s."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from testwarden import seeded
from testwarden.checking import check_folder
from testwarden.model import MIB, FileSize

FOLDER = Path(__file__).parents[2] / "test-files"
CATALOGUES = ("01-download-files.csv", "02-quote-files.csv", "03-upload-files.csv")
SHIPPED = {"tiny", "small", "medium", "large", "chunka", "chunkb", "huge"}


def rows(name: str) -> Iterator[dict[str, str]]:
    lines = (FOLDER / name).read_text("utf-8").splitlines()
    return csv.DictReader(line for line in lines if not line.startswith("#"))


def content_of(row: dict[str, str]) -> tuple[int, int]:
    if "address" in row:
        found = seeded.parse_address(row["address"])
        assert found is not None
        return found
    return int(row["seed"]), int(row["size"])


def test_there_is_nothing_to_find_in_the_shipped_control_file_and_catalogues() -> None:
    report = check_folder(FOLDER)
    assert (report.lines, report.refused) == (["6 tasks will run, 0 findings"], False)


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_shipped_catalogue_has_the_sizes_and_content_that_fits_them(name: str) -> None:
    assert {row["fileSize"] for row in rows(name)} == SHIPPED
    for row in rows(name):
        filesize, (_, size) = FileSize.parse(row["fileSize"]), content_of(row)
        assert filesize.least <= size <= filesize.most, row


@pytest.mark.parametrize("name", CATALOGUES)
def test_the_md5s_of_a_shipped_catalogue_are_true(name: str) -> None:
    for row in rows(name):
        seed, size = content_of(row)
        if size <= 16 * MIB:  # the larger ones would take seconds; the agent checks each before it uses it
            assert seeded.md5(seed, size) == row["md5"], row


def test_no_seed_is_in_two_rows() -> None:
    seeds = [content_of(row)[0] for name in CATALOGUES for row in rows(name)]
    assert len(seeds) == len(set(seeds))
