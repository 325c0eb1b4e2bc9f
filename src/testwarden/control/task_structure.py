"""The structure of one `<Task>`: judged by control.xsd, said in sentences for who edits the file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from lxml import etree

from testwarden.control.findings import MOST_SHOWN, Findings, did_you_mean, shown

MOST_ELEMENTS = 100
"""A task has 21 at most, and as many more as it has variables; judging thousands would take long."""

_CHILDREN: Mapping[str, tuple[str, ...]] = {
    "Task": ("TaskRef", "Description", "TimePeriod", "TimeOffset", "TestType", "TestOptions"),
    "TestOptions": ("Option",),
}
_REQUIRED = ("TaskRef", "TimePeriod", "TestType")
OPTION_ATTRIBUTES = ("key", "value")


class TaskStructure:
    """The compiled schema of a task."""

    def __init__(self) -> None:
        """Read control.xsd, which is part of the package."""
        xsd = resources.files("testwarden.control").joinpath("control.xsd").read_bytes()
        self._schema = etree.XMLSchema(etree.fromstring(xsd))

    def check(self, task: etree._Element, lines: Mapping[etree._Element, int], findings: Findings) -> bool:
        """Given a Task element and the lines of all elements, add what is wrong; return whether nothing is."""
        elements = list(task.iter())
        if len(elements) > MOST_ELEMENTS:
            findings.error(lines[task], f"a task has at most {MOST_ELEMENTS} elements inside, not {len(elements):,}")
            return False
        for element in elements:
            _check_names(element, lines[element], findings)
        # The schema language lets `xsi:` attributes pass, and libxml2 would open the files that they name. So what has
        # a namespace never comes to the schema.
        if findings:
            return False
        valid = self._schema.validate(task)
        for entry in () if valid else self._schema.error_log:
            element = _element(task, entry.path)
            findings.error(lines[element], _sentence(entry.type, element))
        return valid


def _check_names(element: etree._Element, line: int, findings: Findings) -> None:
    """Add a finding for each name that has a namespace and each attribute that is not known."""
    if str(element.tag).startswith("{"):
        findings.error(line, f"<{name_of(element)}> has a namespace; the elements of a control file have none")
    allowed = OPTION_ATTRIBUTES if element.tag == "Option" else ()
    for attribute in sorted(set(map(str, element.attrib)) - set(allowed)):
        hint = did_you_mean(attribute, allowed)
        findings.error(line, f"<{name_of(element)}> has no attribute {shown(attribute)}{hint}")


def name_of(element: etree._Element) -> str:
    """Return the name of an element without its namespace, cut."""
    return str(element.tag).rpartition("}")[2][:MOST_SHOWN]


def _element(task: etree._Element, path: str | None) -> etree._Element:
    """Given `/Task/…` as libxml2 names an element, return it; the task itself if it cannot be found."""
    found = task.xpath("." + path.removeprefix("/Task")) if path else []
    return found[0] if isinstance(found, list) and found and isinstance(found[0], etree._Element) else task


def _sentence(kind: int, element: etree._Element) -> str:
    known = etree.ErrorTypes
    name = name_of(element)
    sentences: Mapping[int, str] = {
        known.SCHEMAV_CVC_COMPLEX_TYPE_2_1: "must have nothing inside; its attributes say everything",
        known.SCHEMAV_CVC_COMPLEX_TYPE_2_3: "holds text beside its elements",
        known.SCHEMAV_CVC_COMPLEX_TYPE_4: f"needs both attributes: {' and '.join(OPTION_ATTRIBUTES)}",
        known.SCHEMAV_CVC_TYPE_3_1_2: "holds elements; only text is allowed in it",
    }
    if kind == known.SCHEMAV_ELEMENT_CONTENT:
        return _content_sentence(element)
    return f"<{name}> {sentences.get(kind, 'is not built as docs/control-file.md says')}"


def _content_sentence(element: etree._Element) -> str:
    """What libxml2 calls wrong element content: a child that is not known, one too many, or one too few."""
    name = name_of(element)
    parent = element.getparent()
    if parent is not None and str(parent.tag) in _CHILDREN:
        siblings = _CHILDREN[str(parent.tag)]
        if name not in siblings:
            return f"<{name}> is not known in <{name_of(parent)}>{did_you_mean(name, siblings)}"
        if parent.find(name) is not element:
            return f"<{name}> appears twice in this task"
    if name == "TestOptions":
        return "<TestOptions> is empty; give it an <Option> or leave it out"
    missing = [f"<{child}>" for child in _REQUIRED if element.find(child) is None]
    return f"<{name}> lacks {' and '.join(missing)}"
