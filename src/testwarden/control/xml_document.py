"""Reading XML that strangers wrote: bytes → elements and the lines they begin on, or why not.

The bytes are decoded here and handed to libxml2 as UTF-8, so that there is one reading of the text. What begins with a
DOCTYPE is refused before libxml2 sees it: without one there are no entities to expand and nothing external to load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from testwarden.control.findings import shown

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_WITHOUT_BOM = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_DECLARED = rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"'<>]*)["']"""
_READABLE = r"utf-?8|us-ascii|ascii|iso-8859-(?:[1-9]|1[013-6])|windows-125[0-8]"

# Both must not search a broken text again and again: what is never closed ends with the text.
_PROLOG = r"\s+|<\?.*?(?:\?>|\Z)|<!--.*?(?:-->|\Z)"
# Of a start tag its beginning is enough: the values of its attributes hold no "<".
_MARKUP = r"<\?.*?(?:\?>|\Z)|<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<[^/!?]"


class Unreadable(Exception):
    """The bytes are not XML that we read; carries the 1-based line (0: all of it) and a sentence."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """Well-formed XML without comments and processing instructions."""

    root: etree._Element
    lines: Mapping[etree._Element, int]
    """The line on which each element's start tag begins. libxml2's own numbers are a guess beyond line 65535."""


def read_xml(data: bytes, most_bytes: int) -> Document:
    """Given the bytes of a file and how many it may have, return its elements. Raise Unreadable if it is not XML."""
    if len(data) > most_bytes:
        raise Unreadable(0, f"too big: a control file has at most {most_bytes:,} bytes")
    text = _decode(data)
    if not text.strip():
        raise Unreadable(0, "empty: nothing is in this file")
    _refuse_doctype(text)
    root = _parse(text)
    return Document(root, dict(zip(root.iter(), _start_lines(text), strict=False)))


def _decode(data: bytes) -> str:
    codec = _codec(data)
    try:
        return data.decode(codec)
    except UnicodeDecodeError as wrong:
        line = data[: wrong.start].decode(codec, "replace").count("\n") + 1
        byte = f"the byte 0x{data[wrong.start]:02x} has no meaning here"
        raise Unreadable(line, f"not {codec.upper()}: {byte}; save the file as UTF-8") from None


def _codec(data: bytes) -> str:
    """Given XML, return the name of its encoding by its first bytes (XML 1.0, appendix F), else by what it declares."""
    for start, codec in (*_BOMS, *_WITHOUT_BOM):
        if data.startswith(start):
            return codec
    declared = re.match(_DECLARED, data[:1000])
    name = declared[1].decode("ascii", "replace").lower() if declared else "utf-8"
    if not re.fullmatch(_READABLE, name):
        raise Unreadable(1, f"the encoding {shown(name)} is declared, and this is not that or not known; write UTF-8")
    return name


def _refuse_doctype(text: str) -> None:
    place = 0
    while skipped := re.compile(_PROLOG, re.DOTALL).match(text, place):
        place = skipped.end()
    if text.startswith("<!DOCTYPE", place):
        raise Unreadable(text.count("\n", 0, place) + 1, "a DOCTYPE (DTD, entities) is refused; leave it out")


def _parse(text: str) -> etree._Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        no_network=True,
        load_dtd=False,
        resolve_entities=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as wrong:
        line, column = wrong.position
        raise Unreadable(line or 0, f"not XML: {_syntax_sentence(wrong)} (column {column})") from None


def _start_lines(text: str) -> list[int]:
    """Given well-formed XML without a DOCTYPE, return the line of each start tag, in the order of the document."""
    lines, line, place = [], 1, 0
    for markup in re.finditer(_MARKUP, text, re.DOTALL):
        line += text.count("\n", place, markup.start())
        place = markup.start()
        if text[place + 1] not in "!?":
            lines.append(line)
    return lines


def _syntax_sentence(wrong: etree.XMLSyntaxError) -> str:
    """libxml2's sentences need a reader who knows its source; these are for somebody who edits a file."""
    mismatch = re.match(r"Opening and ending tag mismatch: (\S+) line (\d+) and (\S+?),? ", wrong.msg or "")
    if mismatch:
        opened, line, closed = mismatch.groups()
        return f"</{closed[:40]}> stands where <{opened[:40]}> of line {line} must be closed first"
    known = etree.ErrorTypes
    sentences: Mapping[int, str] = {
        known.ERR_DOCUMENT_EMPTY: "there is no element",
        known.ERR_DOCUMENT_END: "something follows the end of the root element",
        known.ERR_TAG_NOT_FINISHED: "the file ends before every element is closed",
        known.ERR_GT_REQUIRED: "a tag is not closed with >",
        known.ERR_NAME_REQUIRED: "< and & begin a tag or an entity; as text write &lt; and &amp;",
        known.ERR_ENTITYREF_SEMICOL_MISSING: "& begins an entity; as text write &amp;",
        known.ERR_UNDECLARED_ENTITY: "an entity that XML does not know; known are &lt; &gt; &amp; &quot; &apos;",
        known.ERR_ATTRIBUTE_NOT_STARTED: 'the value of an attribute is not in quotes ("…")',
        known.ERR_ATTRIBUTE_NOT_FINISHED: 'the value of an attribute does not end with its quote (")',
        known.ERR_ATTRIBUTE_WITHOUT_VALUE: 'an attribute has no value (="…")',
        known.ERR_ATTRIBUTE_REDEFINED: "an attribute appears twice in one tag",
        known.ERR_LT_IN_ATTRIBUTE: 'a < in the value of an attribute: a quote (") is missing before it',
        known.ERR_SPACE_REQUIRED: "a blank is missing between attributes, or ?> at the end of the first line",
        known.ERR_INVALID_CHAR: "a character that XML does not allow",
        known.ERR_RESERVED_XML_NAME: "<?xml …?> must be the very first thing in the file",
        known.ERR_HYPHEN_IN_COMMENT: "-- inside a comment (comments cannot hold comments)",
        known.ERR_COMMENT_NOT_FINISHED: "a comment is not closed with -->",
        known.ERR_CDATA_NOT_FINISHED: "a CDATA section is not closed with ]]>",
        known.ERR_RESOURCE_LIMIT: "elements inside elements inside elements: too deep",
        known.NS_ERR_UNDEFINED_NAMESPACE: "a name with a colon; the names of a control file have none",
    }
    return sentences.get(wrong.code, "it is not well-formed here")
