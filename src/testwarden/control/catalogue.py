"""Catalogues: which files and seeds there are, indexed by file size.

A catalogue may have a million rows, of which an hour uses a few hundred. So each row is checked when it is indexed, but
only the place where it begins is kept (4 bytes); a row becomes an object when it is picked. One compiled pattern judges
the plain rows, which are nearly all; rows with quotes, blanks around a value or letters beyond ASCII, and broken ones,
take the slower way through the csv module. What the pattern accepts, the slow way accepts as well: `pick` relies on it.
"""

from __future__ import annotations

import csv
import random
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from testwarden.control.findings import MOST_SHOWN, Findings, shown
from testwarden.control.source import DOWNLOAD_CATALOGUE, QUOTE_CATALOGUE, UPLOAD_CATALOGUE
from testwarden.model import CatalogueFile, CatalogueSeed, FileSize, Finding, Level

MOST_BYTES = 256 * 1024 * 1024
MOST_LINES = 2_000_000
"""Bounds of a catalogue: reading it must end soon, whatever it holds."""
MOST_LINE_BYTES = 4096

DOWNLOAD_COLUMNS = ("fileSize", "name", "address", "md5")
SEED_COLUMNS = ("fileSize", "seed", "size", "md5")

_MD5 = r"(?:0|[0-9a-fA-F]{32})?"
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
# Printable ASCII without quote and comma, in a name also without slashes. The counts bound the search in a bad row.
_NAME = r"[!#-+\--.0-\[\]-~][ !#-+\--.0-\[\]-~]{0,254}"
_ADDRESS = r"[!#-+\--~]{1,2048}"
_PLAIN_DOWNLOAD = rf"([A-Za-z]+),(?!\.){_NAME},(?!-){_ADDRESS},{_MD5}"
_PLAIN_SEED = rf"([A-Za-z]+),{_NUMBER},({_NUMBER}),{_MD5}"
# Every line matches, with group 1 only if it is a plain row; so the matches count the lines.
_LINE = r"(?:{row})\r?(?:\n|\Z)|[^\n]*(?:\n|\Z)"

Row = TypeVar("Row", CatalogueFile, CatalogueSeed)


@dataclass(frozen=True)
class Catalogue(Generic[Row]):
    """The good rows of one catalogue, by file size."""

    _data: bytes
    _starts: Mapping[FileSize, array[int]]
    """Where the rows of a size begin in the data. No size without rows."""
    _read: Callable[[bytes], Row]

    @property
    def sizes(self) -> tuple[FileSize, ...]:
        """The file sizes that have at least one row, in the order of FileSize."""
        return tuple(self._starts)

    def has(self, filesize: FileSize) -> bool:
        """Return whether a row of this size can be picked."""
        return filesize in self._starts

    def pick(self, filesize: FileSize, rng: random.Random) -> Row:
        """Given a size that the catalogue has, return a row of it, each as likely as any other. Else raise KeyError."""
        starts = self._starts[filesize]
        start = starts[rng.randrange(len(starts))]
        end = self._data.find(b"\n", start)
        return self._read(self._data[start : end if end >= 0 else None])


@dataclass(frozen=True)
class Catalogues:
    """The three catalogues of one fetch."""

    downloads: Catalogue[CatalogueFile]
    quotes: Catalogue[CatalogueSeed]
    uploads: Catalogue[CatalogueSeed]

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> tuple[Catalogues, list[Finding]]:
        """Given the files of a fetch by name, return the catalogues (empty where one is missing) and all findings."""
        downloads, of_downloads = read_downloads(files.get(DOWNLOAD_CATALOGUE, b""), DOWNLOAD_CATALOGUE)
        quotes, of_quotes = read_seeds(files.get(QUOTE_CATALOGUE, b""), QUOTE_CATALOGUE)
        uploads, of_uploads = read_seeds(files.get(UPLOAD_CATALOGUE, b""), UPLOAD_CATALOGUE)
        found = {DOWNLOAD_CATALOGUE: of_downloads, QUOTE_CATALOGUE: of_quotes, UPLOAD_CATALOGUE: of_uploads}
        listed = [f for name in found for f in (found[name] if name in files else [_missing(name)])]
        return cls(downloads, quotes, uploads), listed


def read_downloads(data: bytes, name: str) -> tuple[Catalogue[CatalogueFile], list[Finding]]:
    """Given a download catalogue and its file name, return the index of its good rows and a finding per broken one."""
    findings = Findings(name)
    starts = _index(data, DOWNLOAD_COLUMNS, _PLAIN_DOWNLOAD, _download, findings)
    return Catalogue(data, starts, _download), findings.listed()


def read_seeds(data: bytes, name: str) -> tuple[Catalogue[CatalogueSeed], list[Finding]]:
    """The same for a quote or an upload catalogue."""
    findings = Findings(name)
    starts = _index(data, SEED_COLUMNS, _PLAIN_SEED, _seed, findings)
    return Catalogue(data, starts, _seed), findings.listed()


def _missing(name: str) -> Finding:
    return Finding(name, 0, Level.WARNING, "this catalogue is missing: tasks that need it are refused")


def _index(
    data: bytes, columns: tuple[str, ...], row: str, read: Callable[[bytes], Row], findings: Findings
) -> Mapping[FileSize, array[int]]:
    """Return where the good rows of each size begin. `row` is the pattern of a plain row; its group 2 are bytes."""
    starts = {filesize: array("I") for filesize in FileSize}
    lines = _lines(data, row, findings)
    if not _header(lines, columns, findings):
        return {}
    # By spelling, not by FileSize: hashing an enum member a million times costs a second.
    plain = {spelling: (filesize, starts[filesize]) for spelling, filesize in _labels()}
    for line, match in lines:
        known = plain.get(match[1])
        if known and (match.lastindex == 1 or known[0].least <= int(match[2]) <= known[0].most):
            known[1].append(match.start())
        elif filesize := _judge(match[0], line, read, findings):
            starts[filesize].append(match.start())
    return {filesize: places for filesize, places in starts.items() if places}


def _lines(data: bytes, row: str, findings: Findings) -> Iterator[tuple[int, re.Match[bytes]]]:
    """Return the numbered lines of a catalogue; none if it is too big to be read at all."""
    if len(data) > MOST_BYTES or data.count(b"\n") > MOST_LINES:
        findings.error(0, f"too big: a catalogue has at most {MOST_BYTES:,} bytes and {MOST_LINES:,} lines")
        return iter(())
    pattern = re.compile(_LINE.format(row=row).encode())
    return enumerate(pattern.finditer(data, 3 if data.startswith(b"\xef\xbb\xbf") else 0), start=1)


def _labels() -> list[tuple[bytes | None, FileSize]]:
    """The usual spellings of the sizes. Unusual ones (`tInY`) take the slow way."""
    spellings = (str.lower, str.capitalize, str.upper)
    return [(spell(filesize.label).encode(), filesize) for filesize in FileSize for spell in spellings]


def _header(lines: Iterator[tuple[int, re.Match[bytes]]], columns: tuple[str, ...], findings: Findings) -> bool:
    """Read on to the header row; return whether it is the right one. Without it nobody knows what the columns mean."""
    for line, match in lines:
        if _empty(match[0]):
            continue
        try:
            right = tuple(_fields(match[0], len(columns))) == columns
        except ValueError:
            right = False
        if not right:
            findings.error(
                line, f"the first row must be the header {','.join(columns)}, in UTF-8: nothing here is used"
            )
        return right
    if not findings:
        findings.error(0, f"the header row {','.join(columns)} is missing: nothing here is used")
    return False


def _judge(raw: bytes, line: int, read: Callable[[bytes], Row], findings: Findings) -> FileSize | None:
    """Return the size of a row that is not plain; None for a comment, a blank line or, with a finding, a broken row."""
    if _empty(raw):
        return None
    try:
        return read(raw).filesize
    except ValueError as wrong:
        findings.error(line, f"{wrong}: this row is left out")
        return None


def _empty(raw: bytes) -> bool:
    """Return whether a line is blank or a comment."""
    return raw.lstrip()[:1] in (b"", b"#")


def _download(raw: bytes) -> CatalogueFile:
    """Given the line of a download row, return the row. Raise ValueError with a sentence if it is broken."""
    filesize, name, address, md5 = _fields(raw, len(DOWNLOAD_COLUMNS))
    if not name or name.startswith(".") or "/" in name or "\\" in name or len(name.encode()) > 255:
        raise ValueError(f"name {shown(name)} must be a file name of 1 to 255 bytes, without slash and leading dot")
    # A leading dash would be an option to a client that is given the address as an argument.
    if not address or address.startswith("-") or " " in address or len(address) > 2048:
        raise ValueError(f"address {shown(address)} must have 1 to 2048 characters, no blank and no leading dash")
    return CatalogueFile(_filesize(filesize), name, address, _md5(md5))


def _seed(raw: bytes) -> CatalogueSeed:
    """Given the line of a quote or upload row, return the row. Raise ValueError with a sentence if it is broken."""
    label, seed, size, md5 = _fields(raw, len(SEED_COLUMNS))
    filesize = _filesize(label)
    row = CatalogueSeed(filesize, _number("seed", seed), _number("size", size), _md5(md5))
    if not filesize.least <= row.size <= filesize.most:
        allowed = (
            f"{filesize.least:,} to {filesize.most:,}" if filesize.least != filesize.most else f"{filesize.most:,}"
        )
        raise ValueError(f"size {row.size:,} is not what {filesize.label} means: {allowed} bytes")
    return row


def _fields(raw: bytes, count: int) -> list[str]:
    """Given a line, return its values without blanks around them. Raise ValueError with a sentence if it is no row."""
    if len(raw) > MOST_LINE_BYTES:
        raise ValueError(f"longer than {MOST_LINE_BYTES:,} bytes")
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if not text.isprintable():
        raise ValueError("holds a control character")
    fields = _quoted(text) if '"' in text else text.split(",")
    if len(fields) != count:
        raise ValueError(f"{len(fields)} columns instead of {count}")
    return [field.strip() for field in fields]


def _quoted(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error:
        raise ValueError('the quotes do not match: "…" holds one value, with "" for a quote inside it') from None


def _filesize(text: str) -> FileSize:
    # Looking the member up by its name is ten times as fast as FileSize.parse, which says what is wrong.
    known = FileSize.__members__.get(text.upper())
    if known:
        return known
    try:
        return FileSize.parse(text[:MOST_SHOWN])
    except ValueError as wrong:
        raise ValueError(f"fileSize {wrong}") from None


def _number(column: str, text: str) -> int:
    """Leading zeros are refused: the content is made of the seed's digits, and `07` could mean two contents."""
    if not re.fullmatch(_NUMBER, text):
        raise ValueError(f"{column} {shown(text)} must be a plain number of at most 18 digits, without leading zeros")
    return int(text)


def _md5(text: str) -> str | None:
    if not re.fullmatch(_MD5, text):
        raise ValueError(f"md5 {shown(text)} must be 32 hex digits, or 0 or empty where none is known")
    return text.lower() if len(text) == 32 else None
