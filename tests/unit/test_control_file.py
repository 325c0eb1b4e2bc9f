"""Control files: good tasks are understood, bad ones are findings with their line, and nothing ever raises."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from testwarden.control.catalogue import Catalogues
from testwarden.control.control_file import MOST_BYTES, ControlFile, parse
from testwarden.control.xml_document import Unreadable, read_xml
from testwarden.model import FileSize, Finding, Level, Task, TestType

GOOD = """\
<?xml version="1.0" encoding="UTF-8"?>
<Schedule>
  <Task>
    <TaskRef>001</TaskRef>
    <Description>Download a tiny file</Description>
    <TimePeriod>5</TimePeriod>
    <TimeOffset>2</TimeOffset>
    <TestType>Download</TestType>
    <TestOptions>
      <Option key="filesize" value="small"/>
      <Option key="workers" value="5"/>
      <Option key="offset" value="3"/>
      <Option key="repeat" value="true"/>
      <Option key="timeout" value="60"/>
      <Option key="retry" value="1"/>
    </TestOptions>
  </Task>
</Schedule>
"""
GOOD_TASK = Task("001", "Download a tiny file", 5, 2, TestType.DOWNLOAD, FileSize.SMALL, 5, 3, True, 60, 1, line=3)


def catalogues() -> Catalogues:
    """Downloads of all sizes, quotes of two, uploads of none."""
    rows = "".join(f"{size.label},a,b,0\n" for size in FileSize)
    files = {
        "01-download-files.csv": f"fileSize,name,address,md5\n{rows}".encode(),
        "02-quote-files.csv": b"fileSize,seed,size,md5\ntiny,1,1,0\nlarge,1,1,0\n",
        "03-upload-files.csv": b"fileSize,seed,size,md5\n",
    }
    return Catalogues.read(files)[0]


def read(text: str | bytes) -> ControlFile:
    return parse(text if isinstance(text, bytes) else text.encode(), "c.xml", catalogues())


def task(inside: str = "", *, ref: str = "001", minute: str = "5", kind: str = "Download") -> str:
    return f"<Task><TaskRef>{ref}</TaskRef><TimePeriod>{minute}</TimePeriod><TestType>{kind}</TestType>{inside}</Task>"


def schedule(*tasks: str) -> str:
    return "\n".join(["<Schedule>", *tasks, "</Schedule>"])


def option(key: str, value: str) -> str:
    return f'<TestOptions><Option key="{key}" value="{value}"/></TestOptions>'


def only_finding(control: ControlFile) -> Finding:
    assert len(control.findings) == 1, control.findings
    return control.findings[0]


# What is understood.


def test_every_element_and_option_is_read() -> None:
    assert read(GOOD) == ControlFile((GOOD_TASK,), (), None)


def test_everything_left_out_has_its_default() -> None:
    assert read(schedule(task())).tasks == (Task("001", "", 5, 0, TestType.DOWNLOAD, line=2),)


def test_the_schema_accepts_the_good_file_as_a_whole() -> None:
    xsd = resources.files("testwarden.control").joinpath("control.xsd").read_bytes()
    etree.XMLSchema(etree.fromstring(xsd)).assertValid(etree.fromstring(GOOD.encode()))


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("UTF-8", "UTF-16").encode("utf-16"),
        GOOD.replace("UTF-8", "UTF-16").encode("utf-16-le"),
        GOOD.replace("UTF-8", "UTF-16BE").encode("utf-16-be"),
        GOOD.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        GOOD.replace("<TaskRef>", "<!-- <TaskRef>9 --><?pi <TaskRef>9?><TaskRef>").encode(),
        GOOD.replace("001", "<![CDATA[0]]>0<!-- 2 -->1").encode(),
        GOOD.replace("    ", " ").replace(">5<", "> \t 5 <").encode(),
    ],
    ids=["BOM", "CRLF", "UTF-16", "UTF-16LE without BOM", "UTF-16BE", "ISO-8859-1", "comments", "pieces", "blanks"],
)
def test_the_form_of_the_file_does_not_matter(data: bytes) -> None:
    assert read(data) == ControlFile((GOOD_TASK,), (), None)


@pytest.mark.parametrize(("codec", "name"), [("latin-1", "ISO-8859-1"), ("cp1252", "windows-1252"), ("utf-8", "UTF-8")])
def test_a_declared_encoding_is_used(codec: str, name: str) -> None:
    text = f"<?xml version='1.0' encoding='{name}'?>" + schedule(task("<Description>für</Description>"))
    assert read(text.encode(codec)).tasks[0].description == "für"


def test_the_order_of_the_elements_in_a_task_does_not_matter() -> None:
    inside = f"{option('workers', '2')}<TestType>quote</TestType><TimePeriod>9</TimePeriod><TaskRef>044</TaskRef>"
    control = read(schedule(f"<Task>{inside}</Task>"))
    assert control == ControlFile((Task("044", "", 9, 0, TestType.QUOTE, workers=2, line=2),), (), None)


def test_tasks_come_by_minute() -> None:
    control = read(schedule(task(ref="003", minute="54"), task(ref="002", minute="5"), task(ref="001", minute="07")))
    assert [(found.ref, found.minute) for found in control.tasks] == [("002", 5), ("001", 7), ("003", 54)]


@pytest.mark.parametrize("kind", ["download", "DOWNLOAD", " Download\n"])
def test_the_case_of_the_test_type_does_not_matter(kind: str) -> None:
    assert read(schedule(task(kind=kind))).tasks[0].type is TestType.DOWNLOAD


@pytest.mark.parametrize("size", list(FileSize), ids=lambda size: size.label)
def test_all_nine_file_sizes_are_known(size: FileSize) -> None:
    assert read(schedule(task(option("filesize", size.label.upper())))).tasks[0].filesize is size


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("workers", "1", "workers", 1),
        ("workers", "999999999", "workers", 999_999_999),
        ("offset", "0", "offset", 0),
        ("offset", "false", "offset", 0),
        ("offset", "FALSE", "offset", 0),
        ("offset", "99", "offset", 99),
        ("repeat", "True", "repeat", True),
        ("repeat", "false", "repeat", False),
        ("timeout", "86400", "timeout", 86400),
        ("retry", "0", "retry", 0),
        ("retry", "1000", "retry", 1000),
    ],
)
def test_option_values_are_passed_on_even_above_a_limit(key: str, value: str, field: str, expected: object) -> None:
    control = read(schedule(task(option(key, value))))
    assert (control.findings, getattr(control.tasks[0], field)) == ((), expected)


def test_a_time_offset_above_the_limit_is_passed_on() -> None:
    assert read(schedule(task("<TimeOffset>600</TimeOffset>"))).tasks[0].time_offset == 600


def test_a_description_is_folded_kept_whole_and_cannot_command_a_terminal() -> None:
    text = "<Description>\n  a \t b&#x9b;31mc\u202ed " + "e" * 500 + "\n</Description>"
    assert read(schedule(task(text))).tasks[0].description == "a b 31mc d " + "e" * 500


def test_a_schedule_without_tasks_is_fine() -> None:
    assert read("<Schedule/>") == ControlFile((), (), None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-12-31T00:00:00Z", datetime(2026, 12, 31, tzinfo=timezone.utc)),
        ("2026-12-31T00:30:00+02:00", datetime(2026, 12, 30, 22, 30, tzinfo=timezone.utc)),
    ],
)
def test_not_after_is_an_instant_in_utc(text: str, instant: datetime) -> None:
    control = read(f'<Schedule notAfter="{text}">{task()}</Schedule>')
    assert (len(control.tasks), control.not_after) == (1, instant)
    assert control.not_after is not None
    assert control.not_after.utcoffset() == instant.utcoffset()


# What refuses one task.

BAD_INSIDE = [
    ("<Description> </Description>", "<Description> is empty"),
    ("<TimeOffset/>", "<TimeOffset> is empty"),
    ("<TimeOffset>-1</TimeOffset>", "<TimeOffset> is '-1'; it must be a whole number from 0"),
    ("<TimeOffset>false</TimeOffset>", "<TimeOffset> is 'false'"),
    ("<TestOptions/>", "<TestOptions> is empty; give it an <Option> or leave it out"),
    ("<TestOptions>text<Option key='retry' value='1'/></TestOptions>", "<TestOptions> holds text"),
    ("<TestOptions><Opt/></TestOptions>", "<Opt> is not known in <TestOptions>; did you mean Option?"),
    ("<TestOptions><Option key='retry'/></TestOptions>", "<Option> needs both attributes: key and value"),
    ("<TestOptions><Option key='retry' value='1'>2</Option></TestOptions>", "<Option> must have nothing inside"),
    ("<TestOptions><Option key='retry' value='1' vlue='1'/></TestOptions>", "<Option> has no attribute 'vlue'; did"),
    (
        "<TestOptions><Option key='retry' value='1' /><Option key='retry' value='1' /></TestOptions>",
        "retry appears twi",
    ),
    ("<Descripton>x</Descripton>", "<Descripton> is not known in <Task>; did you mean Description?"),
    ("<Description>x<b>y</b></Description>", "<Description> holds elements"),
    ("<Description lang='en'>x</Description>", "<Description> has no attribute 'lang'"),
    ("<Description xml:lang='en'>x</Description>", "<Description> has no attribute"),
    ("<Description xmlns='urn:x'>x</Description>", "<Description> has a namespace"),
    ("<TimePeriod>6</TimePeriod>", "<TimePeriod> appears twice"),
    ("text", "<Task> holds text beside its elements"),
    (option("wrokers", "1"), "option 'wrokers' is not known; did you mean workers?"),
    (option("Workers", "1"), "option 'Workers' is not known; did you mean workers?"),
    (option("zzz", "1"), "option 'zzz' is not known; known are filesize, workers"),
    (option("", "1"), "option '' is not known"),
    (option("workers", ""), "option workers is empty"),
    (option("workers", "0"), "option workers is '0'; it must be a whole number from 1"),
    (option("workers", "five"), "option workers is 'five'"),
    (option("workers", "1.5"), "option workers is '1.5'"),
    (option("workers", "+1"), "option workers is '+1'"),
    (option("workers", "1_0"), "option workers is '1_0'"),
    (option("workers", "٣"), "option workers is '٣'"),
    (option("workers", "1" * 10), "at most 9 of them"),
    (option("timeout", "0"), "option timeout is '0'; it must be a whole number from 1"),
    (option("retry", "-1"), "option retry is '-1'"),
    (option("retry", "1" * 5000), "option retry is '1111111111111111111111111111111111111111…'"),
    (option("offset", "true"), "option offset is 'true'; it must be a whole number of minutes, or false"),
    (option("repeat", "yes"), "option repeat is 'yes'; it must be true or false"),
    (option("repeat", "1"), "option repeat is '1'"),
    (option("filesize", "tny"), "'tny' is not one of tiny, small"),
]


@pytest.mark.parametrize(("inside", "said"), BAD_INSIDE)
def test_what_is_not_understood_refuses_the_task_and_no_other(inside: str, said: str) -> None:
    control = read(
        schedule(task(ref="001", minute="5"), task(inside, ref="002", minute="6"), task(ref="3", minute="7"))
    )
    ours = [finding for finding in control.findings if finding.task == "002"]
    assert [found.ref for found in control.tasks] == ["001"]
    assert len(ours) == 1
    assert said in ours[0].message
    assert (ours[0].file, ours[0].line, ours[0].level) == ("c.xml", 3, Level.ERROR)


@pytest.mark.parametrize(
    ("parts", "said", "ref"),
    [
        ({"ref": "1"}, "<TaskRef> is '1'; it must be three digits from 001 to 999", None),
        ({"ref": "000"}, "<TaskRef> is '000'", None),
        ({"ref": "1000"}, "<TaskRef> is '1000'", None),
        ({"ref": "٠٠١"}, "<TaskRef> is '٠٠١'", None),
        ({"ref": ""}, "<TaskRef> is empty", None),
        ({"minute": "4"}, "<TimePeriod> is '4'; it must be a minute from 5 to 54", "001"),
        ({"minute": "55"}, "<TimePeriod> is '55'", "001"),
        ({"minute": "noon"}, "<TimePeriod> is 'noon'", "001"),
        ({"minute": ""}, "<TimePeriod> is empty", "001"),
        ({"kind": "Donwload"}, "<TestType> is 'Donwload', which is not known; did you mean Download?", "001"),
        ({"kind": ""}, "<TestType> is empty", "001"),
        ({"kind": "iperf"}, "Iperf, which this release cannot run yet; it runs Download, Quote, Upload, K6", "001"),
        (
            {"kind": "Quote", "inside": option("filesize", "huge")},
            "csv has no row of file size huge; it has tiny",
            "001",
        ),
        ({"kind": "Upload", "minute": "4"}, "<TimePeriod> is '4'", "001"),
        ({"kind": "Upload"}, "03-upload-files.csv has no row of file size tiny; it has no usable row at all", "001"),
    ],
)
def test_what_a_task_must_have_is_checked(parts: dict[str, str], said: str, ref: str | None) -> None:
    control = read(schedule(task(**parts)))
    assert control.tasks == ()
    assert said in only_finding(control).message
    assert only_finding(control).task == ref


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("", "<Task> lacks <TaskRef> and <TimePeriod> and <TestType>"),
        ("<TaskRef>001</TaskRef><TestType>quote</TestType>", "<Task> lacks <TimePeriod>"),
    ],
)
def test_what_is_missing_is_named(inside: str, said: str) -> None:
    assert only_finding(read(f"<Schedule><Task>{inside}</Task></Schedule>")).message == said


def test_everything_that_is_wrong_with_a_task_is_said_at_once_and_where() -> None:
    options = "\n".join(f'<Option key="{key}" value="x"/>' for key in ("workers", "retry", "rety"))
    control = read(
        schedule(f"<Task>\n<TaskRef>009</TaskRef>{task(minute='1')[6:-7]}</Task>", task(ref="002", kind="x"))
    )
    assert [str(finding).split(" is ")[0] for finding in control.findings] == [
        "c.xml:3: error: <TaskRef> appears twice in this task",
        "c.xml:4: error: <TestType>",
    ]
    assert [finding.task for finding in control.findings] == [None, "002"]
    control = read(schedule(task(f"<TestOptions>\n{options}\n</TestOptions>", minute="1")))
    assert [(finding.line, finding.task) for finding in control.findings] == [(n, "001") for n in (2, 3, 4, 5)]


def test_the_second_task_with_a_reference_is_refused_and_the_first_is_named() -> None:
    control = read(schedule(task(minute="5"), task(minute="6")))
    assert [found.minute for found in control.tasks] == [5]
    assert str(only_finding(control)) == "c.xml:3: error: TaskRef 001 is used before, by the task on line 2"
    assert only_finding(control).task == "001"


def test_the_second_task_in_a_minute_is_refused_and_the_first_is_named() -> None:
    control = read(schedule(task(ref="001"), task(ref="002")))
    assert [found.ref for found in control.tasks] == ["001"]
    assert only_finding(control).message == "minute 5 is taken by task 001 on line 2; one task a minute"
    assert only_finding(control).task == "002"


def test_a_refused_task_does_not_take_a_minute() -> None:
    control = read(schedule(task(option("zzz", "1"), ref="001"), task(ref="002")))
    assert [found.ref for found in control.tasks] == ["002"]


def test_findings_of_one_task_are_capped_and_counted() -> None:
    options = "<Option key='x' value='1'/>\n" * 50
    control = read(schedule(task(f"<TestOptions>{options}</TestOptions>")))
    assert (len(control.findings), control.findings[-1].message) == (21, "and 30 more errors")
    assert {finding.task for finding in control.findings} == {"001"}


def test_a_task_with_thousands_of_elements_is_one_finding() -> None:
    control = read(schedule(task("<X/>" * 100_000, ref="001"), task(ref="002")))
    assert [found.ref for found in control.tasks] == ["002"]
    assert "at most 100 elements" in only_finding(control).message


def test_a_thousand_tasks_are_read_and_what_follows_is_one_finding() -> None:
    control = read(schedule(*[task(ref=f"{n % 999 + 1:03}", minute=str(n % 50 + 5)) for n in range(1001)]))
    assert len(control.tasks) == 50
    assert {finding.line for finding in control.findings} == set(range(52, 1003))
    assert "1,001 elements" in control.findings[-1].message


# What stands beside the tasks.


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ("<Tsk/>", "<Tsk> is not known in <Schedule>; did you mean Task?"),
        ("text", "<Schedule> holds text"),
        ("<Task xmlns='urn:x'/>", "<Task> is not known in <Schedule>"),
    ],
)
def test_what_does_not_belong_in_a_schedule_is_a_finding_and_the_tasks_run(beside: str, said: str) -> None:
    for text in (schedule(beside, task()), schedule(task(), beside)):
        control = read(text)
        assert len(control.tasks) == 1
        assert said in only_finding(control).message
        assert only_finding(control).task is None


# What refuses the whole file.


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 0, "empty"),
        (" \n", 0, "empty"),
        ("x" * 10_000_000, 0, "too big: a control file has at most 1,048,576 bytes"),
        ("not xml", 1, "not XML: there is no element"),
        ("<html/>", 1, "the root element must be <Schedule>, without a namespace, not <html>"),
        ("<Schedule xmlns='urn:x'/>", 1, "without a namespace"),
        (GOOD.replace("</TaskRef>", "</TaskRf>"), 4, "</TaskRf> stands where <TaskRef> of line 4 must be closed first"),
        (GOOD.replace("</Schedule>", ""), 19, "the file ends before every element is closed"),
        (GOOD.replace("tiny", "&"), 5, "as text write &lt; and &amp;"),
        (GOOD.replace("tiny", "&tiny;"), 5, "an entity that XML does not know"),
        (GOOD.replace('"workers"', "workers"), 11, "not in quotes"),
        (GOOD.replace("small", "small<"), 10, "a < in the value of an attribute"),
        (GOOD + "<Schedule/>", 19, "something follows the end of the root element"),
        ("\n" + GOOD, 2, "must be the very first thing"),
        ("<!-- <!-- x --> -->" + schedule(), 1, "comments cannot hold comments"),
        ("<a>" * 300, 1, "too deep"),
        ("<Schedule><a:b/></Schedule>", 1, "a name with a colon"),
        (schedule().replace("<Schedule>", "<Schedule>\n\x01"), 2, "a character that XML does not allow"),
        ("<!DOCTYPE Schedule>" + schedule(task()), 1, "a DOCTYPE (DTD, entities) is refused"),
        ("<?xml version='1.0'?>\n<!-- x -->\n<!DOCTYPE S SYSTEM 'x.dtd'>" + schedule(task()), 3, "a DOCTYPE"),
        ("<?xml version='1.0' encoding='UTF-16'?>" + schedule(), 1, "the encoding 'utf-16' is declared"),
        ("<?xml version='1.0' encoding='rot13'?>" + schedule(), 1, "the encoding 'rot13' is declared"),
        ("<?xml version='1.0' encoding='\x00'?>" + schedule(), 1, "the encoding '\\x00' is declared"),
        (GOOD.replace("tiny", "tíny").encode("latin-1"), 5, "not UTF-8: the byte 0xed has no meaning here"),
        (GOOD.encode("utf-16")[:-1], 18, "not UTF-16"),
        ("<Schedule notafter='2026-12-31T00:00:00Z'/>", 1, "<Schedule> has no attribute 'notafter'"),
        ("\n<Schedule notAfter='2026-12-31T00:00:00'/>", 2, "notAfter is '2026-12-31T00:00:00'; it must be an instant"),
        ("<Schedule notAfter='tomorrow'/>", 1, "like 2026-12-31T00:00:00Z"),
        ("<Schedule notAfter=''/>", 1, "notAfter is ''"),
        ("<Schedule notAfter='2026-02-30T00:00:00Z'/>", 1, "notAfter is"),
        ("<Schedule notAfter='0001-01-01T00:00:00+01:00'/>", 1, "notAfter is"),
    ],
)
def test_a_file_that_is_not_understood_is_one_finding_and_has_no_tasks(text: str | bytes, line: int, said: str) -> None:
    control = read(text)
    finding = only_finding(control)
    assert (control.tasks, control.not_after) == ((), None)
    assert said in finding.message
    assert (finding.file, finding.line, finding.level, finding.task) == ("c.xml", line, Level.ERROR, None)


def test_an_entity_bomb_is_refused_before_anything_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("libxml2 must not see it")

    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    monkeypatch.setattr(etree, "fromstring", never)
    control = read(f'<!DOCTYPE S [<!ENTITY e0 "ha">{entities}]><Schedule>&e11;</Schedule>')
    assert "DOCTYPE" in only_finding(control).message


def test_a_file_that_a_task_names_is_never_opened(tmp_path: Path) -> None:
    # libxml2's validator loads what xsi:schemaLocation names. This one would make everything valid.
    lax = tmp_path / "lax.xsd"
    lax.write_text("<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'><xs:element name='X'/></xs:schema>")
    xsi = "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'"
    control = read(schedule(f"<Task {xsi} xsi:noNamespaceSchemaLocation='{lax}'>{task()[6:]}"))
    assert "<Task> has no attribute" in only_finding(control).message


def test_a_file_of_exactly_the_bound_is_read() -> None:
    text = schedule(task()).encode()
    assert len(read(text + b" " * (MOST_BYTES - len(text))).tasks) == 1


def test_lines_beyond_65535_are_right() -> None:
    control = read("\n" * 70_000 + schedule(task(option("zzz", "1")), "<Tsk/>", task(ref="002")))
    assert [finding.line for finding in control.findings] == [70_002, 70_003]
    assert control.tasks[0].line == 70_004


def test_a_start_tag_over_several_lines_counts_from_its_first() -> None:
    control = read(
        schedule("<Task", ">" + task()[6:-7], '<TestOptions><Option\nkey="zzz"\nvalue=">"', "/></TestOptions></Task>")
    )
    assert only_finding(control).line == 4


# The documentation.


def test_the_examples_of_the_documentation_are_real() -> None:
    text = (Path(__file__).parents[2] / "docs" / "control-file.md").read_text(encoding="utf-8")
    blocks = {kind: re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("xml", "csv", "js", "text")}
    downloads, seeds = (block.encode() for block in blocks["csv"])
    files = {"01-download-files.csv": downloads, "02-quote-files.csv": seeds, "03-upload-files.csv": seeds}
    examples, findings = Catalogues.read(files)
    good, load, bad = (parse(block.encode(), "00-control.xml", examples) for block in blocks["xml"])
    assert (findings, good.findings, len(good.tasks)) == ([], (), 2)
    assert "".join(f"{finding}\n" for finding in bad.findings) == blocks["text"][0]
    assert [found.ref for found in bad.tasks] == ["004"]
    [(ref, options)] = [(found.ref, found.k6) for found in load.tasks]
    assert (ref, load.findings) == ("020", ())
    assert options is not None
    assert options.script.sha256 == hashlib.sha256(blocks["js"][0].encode()).hexdigest()


# Anything at all.

unhurried = settings(deadline=None)

words = st.sampled_from(
    [
        *"<>/!?=\"' \n-&;:[]",
        *(
            "<Task>",
            "</Task>",
            "<Schedule>",
            "</Schedule>",
            "<Option",
            "key='workers'",
            "value='1'",
            "/>",
            "TaskRef",
            "001",
        ),
        *("<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE", "<?xml", "?>", "xmlns='x'", "&#155;", "\ufeff", "\x00", "ä"),
    ]
)


@unhurried
@given(st.binary(max_size=300) | st.lists(words, max_size=40).map(lambda parts: "".join(parts).encode()))
@example(b"\xff\xfe")
@example(b"<\x00")
@example(b"<?xml encoding='\xff'?>")
def test_parsing_never_raises(data: bytes) -> None:
    control = read(data)
    assert all(isinstance(str(finding), str) for finding in control.findings)


@unhurried
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 8), st.lists(words, max_size=3).map("".join)), max_size=4
    ),
    st.sampled_from(["utf-8", "utf-16", "latin-1", "utf-16-be"]),
)
def test_parsing_a_mutated_good_file_never_raises_and_says_why_nothing_runs(
    cuts: list[tuple[int, int, str]], codec: str
) -> None:
    text = GOOD
    for start, length, instead in cuts:
        text = text[:start] + instead + text[start + length :]
    control = read(text.encode(codec, "replace"))
    assert control.tasks or control.findings or "<Task>" not in text or "<!--" in text or "<?" in text[5:]


names = st.sampled_from(
    ["TaskRef", "Description", "TimePeriod", "TimeOffset", "TestType", "TestOptions", "Option", "X"]
)
texts = st.sampled_from(["", "x", "1", "002", "003", "5", "54", "quote", "k6", "&#x9b;"])
broken = st.recursive(
    texts,
    lambda inner: st.builds(
        lambda name, attributes, parts: f"<{name}{attributes}>{''.join(parts)}</{name}>",
        names,
        st.sampled_from(["", " key='workers'", " key='workers' value='x'", " xml:lang='de'", " xmlns='urn:x'"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@unhurried
@given(st.lists(broken, max_size=4), st.lists(broken, max_size=4))
def test_a_good_task_comes_through_next_to_broken_ones(before: list[str], after: list[str]) -> None:
    good = task(ref="777", minute="33")
    control = read(
        schedule(*(f"<Task>{x}</Task>" for x in before), *before, good, *(f"<Task>{x}</Task>" for x in after))
    )
    assert "777" in [found.ref for found in control.tasks]
    assert all(finding.task != "777" for finding in control.findings)


@unhurried
@given(st.lists(broken, max_size=6))
def test_lines_are_those_of_the_parser_where_it_knows_them(inside: list[str]) -> None:
    text = "\n".join(
        ["<Schedule>", *inside, "<!-- <X> -->", "<![CDATA[<X>]]>", "<?x <X>?>", "<X a='>'/>", "</Schedule>"]
    )
    try:
        document = read_xml(text.encode(), MOST_BYTES)
    except Unreadable as why:
        raise AssertionError(why) from None
    elements = list(document.root.iter())
    assert [document.lines[element] for element in elements] == [element.sourceline for element in elements]
