"""How settings are shown: the sample file, generated from the schema, and the effective settings."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from pydantic.fields import FieldInfo

from testwarden.settings import Loaded, as_section, keys, value_of
from testwarden.settings_schema import Settings
from testwarden.settings_sources import variable_name
from testwarden.settings_values import show

HEAD = f"""\
# testwarden.toml: the settings of this agent.
# Everything below is the default: take away the # before a line to change it. Stronger than this file are .env and the
# environment, there as {variable_name("cycle.seconds")}=… and so on.
# `testwarden config` shows what is in force, and from where.
"""


@dataclass(frozen=True)
class Row:
    """One setting in force."""

    key: str
    value: str
    """As the settings file would have it; secrets masked."""
    origin: str


def effective(loaded: Loaded) -> list[Row]:
    """Given the loaded settings, return each with its value and where it came from, in the order of the schema."""
    return [Row(key, show(known, value_of(loaded.settings, key)), loaded.origins[key]) for key, known in keys().items()]


def sample() -> str:
    """Return a settings file in TOML that names every setting with its default, commented out."""
    parts = [HEAD]
    section = ""
    for key, known in keys().items():
        if key.rpartition(".")[0] != section:
            section = key.rpartition(".")[0]
            parts.append(_heading(section))
        parts.append(_line(key, known))
    return "\n".join(parts)


def _heading(section: str) -> str:
    fields, model = Settings.model_fields, None
    for name in section.split("."):
        model = as_section(fields[name])
        fields = model.model_fields if model is not None else {}
    return f"\n{_comment((model.__doc__ or '').strip())}\n[{section}]\n"


def _line(key: str, known: FieldInfo) -> str:
    default = None if known.default_factory is not None else known.default
    return f"{_comment(known.description or '')}\n#{key.rpartition('.')[2]} = {show(known, default)}\n"


def _comment(text: str) -> str:
    return textwrap.fill(text, width=110, initial_indent="# ", subsequent_indent="# ")
