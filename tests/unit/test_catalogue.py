"""Catalogues: every row is checked, a broken one is a finding, and what is picked is what was written."""

from __future__ import annotations

import csv
import io
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testwarden.control import catalogue as module
from testwarden.control.catalogue import Catalogues, read_downloads, read_seeds
from testwarden.control.findings import MOST_FINDINGS
from testwarden.model import CatalogueFile, CatalogueSeed, FileSize, Finding, Level

MD5 = "0123456789abcdef0123456789ABCDEF"
DOWNLOADS = b"fileSize,name,address,md5\n"
SEEDS = b"fileSize,seed,size,md5\n"


def downloads(*rows: str) -> bytes:
    return DOWNLOADS + "".join(f"{row}\n" for row in rows).encode()


def seeds(*rows: str) -> bytes:
    return SEEDS + "".join(f"{row}\n" for row in rows).encode()


def picked(data: bytes, filesize: FileSize = FileSize.TINY) -> CatalogueFile:
    return read_downloads(data, "d.csv")[0].pick(filesize, random.Random(1))


def only_finding(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_download_row_becomes_what_it_says() -> None:
    data = downloads(f"tiny,a file.bin,0xabc,{MD5}")
    assert picked(data) == CatalogueFile(FileSize.TINY, "a file.bin", "0xabc", MD5.lower())


def test_a_seed_row_becomes_what_it_says() -> None:
    catalogue, findings = read_seeds(seeds(f"ChunkA,7,4194304,{MD5}"), "s.csv")
    assert findings == []
    assert catalogue.pick(FileSize.CHUNKA, random.Random(1)) == CatalogueSeed(FileSize.CHUNKA, 7, 4194304, MD5.lower())


@pytest.mark.parametrize("md5", ["", "0"])
def test_zero_or_nothing_is_no_md5(md5: str) -> None:
    assert picked(downloads(f"tiny,a,b,{md5}")).md5 is None


@pytest.mark.parametrize("row", ["tiny,a,b,0", "TINY,a,b,0", "tInY,a,b,0", " tiny , a , b , 0 ", '"tiny","a",b,"0"'])
def test_case_blanks_and_quotes_do_not_matter(row: str) -> None:
    assert picked(downloads(row)) == CatalogueFile(FileSize.TINY, "a", "b", None)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + downloads(f"tiny,a,b,{MD5}"),
        downloads(f"tiny,a,b,{MD5}").replace(b"\n", b"\r\n"),
        downloads(f"tiny,a,b,{MD5}").rstrip(),
        b"# first\n\n  # second\r\n" + downloads("", "# third", f"tiny,a,b,{MD5}", "   "),
    ],
    ids=["BOM", "CRLF", "no newline at the end", "comments and blank lines"],
)
def test_the_form_of_the_file_does_not_matter(data: bytes) -> None:
    assert read_downloads(data, "d.csv")[1] == []
    assert picked(data) == CatalogueFile(FileSize.TINY, "a", "b", MD5.lower())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("tiny,a,b", "3 columns instead of 4"),
        ("tiny,a,b,0,0", "5 columns instead of 4"),
        ("tny,a,b,0", "'tny' is not one of tiny, small"),
        (f"tiny,a,b,{MD5[1:]}", "must be 32 hex digits"),
        (f"tiny,a,b,{MD5[1:]}g", "must be 32 hex digits"),
        ("tiny,a,,0", "address '' must"),
        ("tiny,a,--option,0", "no leading dash"),
        ("tiny,a,b c,0", "no blank"),
        ("tiny,,b,0", "name '' must"),
        ("tiny,../a,b,0", "without slash and leading dot"),
        ("tiny,a/b,b,0", "without slash"),
        ("tiny,a\\b,b,0", "without slash"),
        ("tiny,.a,b,0", "leading dot"),
        ("tiny, .a,b,0", "leading dot"),
        (f"tiny,{'ä' * 128},b,0", "1 to 255 bytes"),
        ("tiny,a\x1b[31m,b,0", "control character"),
        ("tiny,a,b\x7f,0", "control character"),
        ("tiny,a,b\u009b,0", "control character"),
        ("tiny,a\x00,b,0", "control character"),
        ("tiny,a\rtiny,b,0", "control character"),
        ('tiny,"a,b,0', "the quotes do not match"),
        (f"tiny,a,{'b' * 5000},0", "longer than 4,096 bytes"),
        (f"tiny,a,{'b' * 2049},0", "1 to 2048 characters"),
    ],
)
def test_a_broken_download_row_is_one_finding_and_the_others_stay(row: str, said: str) -> None:
    catalogue, findings = read_downloads(downloads("small,good,x,0", row, "medium,good,x,0"), "d.csv")
    finding = only_finding(findings)
    assert said in finding.message
    assert (finding.file, finding.line, finding.level, finding.task) == ("d.csv", 3, Level.ERROR, None)
    assert catalogue.sizes == (FileSize.SMALL, FileSize.MEDIUM)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("tiny,-1,5,0", "seed '-1' must be a plain number"),
        ("tiny,x,5,0", "seed 'x' must"),
        ("tiny,01,5,0", "without leading zeros"),
        ("tiny,1,5.0,0", "size '5.0' must"),
        ("tiny,1,٥,0", "size '٥' must"),
        (f"tiny,{'9' * 19},5,0", "at most 18 digits"),
        ("tiny,1,0,0", "size 0 is not what tiny means: 1 to 131,072 bytes"),
        ("tiny,1,131073,0", "size 131,073 is not what tiny means"),
        ("huge,1,134217727,0", "134,217,728 to 1,073,741,824 bytes"),
        ("chunkb,1,67108863,0", "chunkb means: 67,108,864 bytes"),
        ("tiny,1,,0", "size '' must"),
        ("tiny,,5,0", "seed '' must"),
    ],
)
def test_a_broken_seed_row_is_one_finding_and_the_others_stay(row: str, said: str) -> None:
    catalogue, findings = read_seeds(seeds("small,0,1,0", row, "tera,3,107374182400,0"), "s.csv")
    finding = only_finding(findings)
    assert said in finding.message
    assert (finding.line, finding.level) == (3, Level.ERROR)
    assert catalogue.sizes == (FileSize.SMALL, FileSize.TERA)


def test_a_row_that_is_not_utf_8_is_one_finding_and_the_others_stay() -> None:
    catalogue, findings = read_downloads(DOWNLOADS + b"tiny,\xe4,b,0\nsmall,a,b,0\n", "d.csv")
    assert str(only_finding(findings)) == "d.csv:2: error: not UTF-8: this row is left out"
    assert catalogue.sizes == (FileSize.SMALL,)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 0),
        (b"# only a comment\n", 0),
        (b"#\nfilesize,name,address,md5\ntiny,a,b,0\n", 2),
        (b"name,fileSize,address,md5\na,tiny,b,0\n", 1),
        (b"tiny,a,b,0\n", 1),
        (SEEDS + b"tiny,1,1,0\n", 1),
        (downloads("tiny,a,b,0").decode().encode("utf-16"), 1),
    ],
    ids=["empty", "comment", "case", "order", "none", "another catalogue's", "UTF-16"],
)
def test_without_the_right_header_nothing_is_used(data: bytes, line: int) -> None:
    catalogue, findings = read_downloads(data, "d.csv")
    finding = only_finding(findings)
    assert "header" in finding.message
    assert (finding.line, catalogue.sizes) == (line, ())


def test_findings_are_capped_and_counted() -> None:
    findings = read_downloads(downloads(*["bad"] * (MOST_FINDINGS + 23), "tiny,a,b,0"), "d.csv")[1]
    assert len(findings) == MOST_FINDINGS + 1
    assert (findings[-1].message, findings[-1].line) == ("and 23 more errors", MOST_FINDINGS + 23 + 1)


@pytest.mark.parametrize("bound", ["MOST_BYTES", "MOST_LINES"])
def test_a_catalogue_that_is_too_big_is_one_finding_and_not_used(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, bound, 2)
    catalogue, findings = read_downloads(downloads("tiny,a,b,0", "tiny,c,d,0"), "d.csv")
    assert "too big" in only_finding(findings).message
    assert catalogue.sizes == ()


def test_a_size_without_rows_cannot_be_picked() -> None:
    catalogue, _ = read_downloads(downloads("tiny,a,b,0"), "d.csv")
    assert (catalogue.has(FileSize.TINY), catalogue.has(FileSize.SMALL)) == (True, False)
    with pytest.raises(KeyError):
        catalogue.pick(FileSize.SMALL, random.Random(1))


def test_every_row_of_a_size_is_picked_sooner_or_later() -> None:
    catalogue, _ = read_downloads(downloads(*(f"tiny,{i},b,0" for i in range(10)), "small,x,b,0"), "d.csv")
    rng = random.Random(1)
    assert {catalogue.pick(FileSize.TINY, rng).name for _ in range(200)} == {str(i) for i in range(10)}


def test_a_missing_catalogue_is_a_warning_and_an_empty_catalogue() -> None:
    read, findings = Catalogues.read({"01-download-files.csv": downloads("tiny,a,b,0"), "03-upload-files.csv": SEEDS})
    finding = only_finding(findings)
    assert (finding.file, finding.level, finding.line) == ("02-quote-files.csv", Level.WARNING, 0)
    assert read.downloads.has(FileSize.TINY)
    assert read.quotes.sizes == read.uploads.sizes == ()


def test_each_file_of_a_fetch_is_its_own_catalogue() -> None:
    files = {"02-quote-files.csv": seeds("tiny,2,1,0"), "03-upload-files.csv": seeds("tiny,3,1,0", "bad")}
    read, findings = Catalogues.read({"01-download-files.csv": downloads("bad"), **files})
    assert [finding.file for finding in findings] == ["01-download-files.csv", "03-upload-files.csv"]
    assert read.quotes.pick(FileSize.TINY, random.Random(1)).seed == 2
    assert read.uploads.pick(FileSize.TINY, random.Random(1)).seed == 3


unhurried = settings(deadline=None)
sizes = st.sampled_from(FileSize)
md5s = st.none() | st.text("0123456789abcdef", min_size=32, max_size=32)
printable = st.characters(exclude_categories=("C", "Z"), include_characters=' ",#')
names = st.text(printable, min_size=1, max_size=20).filter(
    lambda name: name == name.strip() and name[0] != "." and not {"/", "\\"} & set(name) and name.isprintable()
)
addresses = st.text(printable, min_size=1, max_size=20).filter(
    lambda text: text[0] != "-" and " " not in text and text.isprintable()
)
file_rows = st.lists(st.builds(CatalogueFile, sizes, names, addresses, md5s), min_size=1, max_size=20)


@unhurried
@given(file_rows)
def test_rows_that_the_csv_module_writes_come_back_and_a_pick_has_the_size_asked_for(rows: list[CatalogueFile]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["fileSize", "name", "address", "md5"])
    writer.writerows([row.filesize.label, row.name, row.address, row.md5 or "0"] for row in rows)
    catalogue, findings = read_downloads(text.getvalue().encode(), "d.csv")
    assert findings == []
    assert set(catalogue.sizes) == {row.filesize for row in rows}
    rng = random.Random(1)
    for size in catalogue.sizes:
        written = {row for row in rows if row.filesize is size}
        assert {catalogue.pick(size, rng) for _ in range(10)} <= written


@unhurried
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b"tiny,a,b,0\r")
@example(b"\n,\n#\n\xef\xbb\xbf")
def test_reading_never_raises_and_what_it_keeps_can_be_picked(data: bytes) -> None:
    rng = random.Random(1)
    for read, header in ((read_downloads, DOWNLOADS), (read_seeds, SEEDS)):
        for content in (data, header + data):
            catalogue, _ = read(content, "x.csv")
            for size in catalogue.sizes:
                assert catalogue.pick(size, rng).filesize is size


value = st.text(' !"#,-./0159:AZ\\aftinyz~\x7f\ta', max_size=4)
plain_sizes = st.sampled_from(["tiny", "Small", "x", ""])


@unhurried
@given(plain_sizes, value, value, st.sampled_from(["", "0", MD5]) | value)
def test_what_the_fast_way_accepts_the_slow_way_accepts_as_well(size: str, two: str, three: str, four: str) -> None:
    line = ",".join((size, two, three, four)).encode()
    if re.fullmatch(module._PLAIN_DOWNLOAD.encode(), line) and size in ("tiny", "Small"):
        assert module._download(line).filesize.label == size.lower()
    if re.fullmatch(module._PLAIN_SEED.encode(), line) and size in ("tiny", "Small") and three != "0":
        assert module._seed(line).size == int(three)
