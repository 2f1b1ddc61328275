"""Where settings come from: flags over environment over a TOML file, each value with its origin.

One path for all three, so that a wrong value is named the way it was given, in one line.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuspy_server.settings import ENVIRONMENT_PREFIX, JSON_FIELDS, Settings

DEFAULT_FILE: Final = Path("tuspy-server.toml")
FILE_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
SHOWN_CHARACTERS: Final = 80
SERVICE_LINK: Final = re.compile(
    rf"{ENVIRONMENT_PREFIX}(\w+_)?"
    r"(SERVICE_(HOST|PORT(_\w+)?)=.*|PORT=(tcp|udp|sctp)://.*|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=.*)"
)
"""What Kubernetes sets in every pod beside a Service `tuspy-server`: no typo of anybody's."""

SECRET_FIELDS: Final = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if name in JSON_FIELDS or ("SecretStr" in str(field.annotation) and not name.startswith("database_"))
)
"""A wrong value of these is not repeated. A database's URL is, without its password: people mistype its rest."""


class WrongSettings(Exception):
    """The settings cannot be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody gave it.

    Attributes:
        name: what they called the setting: `--port`, `TUSPY_PORT`, `port`.
        file: the TOML file that it stands in; None for flags and variables.
    """

    name: str
    value: object
    file: Path | None = None

    @property
    def field(self) -> str:
        """The setting's name in `Settings`."""
        return self.name.lower().removeprefix(ENVIRONMENT_PREFIX.lower()).removeprefix("--").replace("-", "_")

    @property
    def origin(self) -> str:
        """Where the value comes from."""
        return self.name if self.file is None else str(self.file)

    def __str__(self) -> str:
        """The setting and its value, in the syntax of their origin; of a secret the name alone."""
        if self.field in SECRET_FIELDS:
            return printable(self.name) if self.file is None else f"{printable(self.name)} in {self.file}"
        shown = printable(without_credentials(str(self.value)))
        if self.file is not None:
            return f"{printable(self.name)} = {shown} in {self.file}"
        return f"{self.name} {shown}" if self.name.startswith("--") else f"{self.name}={shown}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each one that is not a default comes from, by field name."""

    settings: Settings
    given: Mapping[str, Given]
    file: Path | None


def load(flags: Mapping[str, object], file: Path | None = None) -> Loaded:
    """Lay flags over `TUSPY_…` variables over `file` (or the one of `TUSPY_CONFIG`, or `./tuspy-server.toml`).

    Raises:
        WrongSettings: a value is wrong, a name unknown, or the file cannot be read.
    """
    environment, named_file = _from_environment()
    path = file or named_file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    given = {
        **(_from_file(path) if path else {}),
        **environment,
        **{field: Given(flag(field), value) for field, value in flags.items()},
    }
    try:
        settings = Settings.model_validate({field: item.value for field, item in given.items()})
    except ValidationError as error:
        raise WrongSettings("; ".join(dict.fromkeys(_explain(detail, given) for detail in error.errors()))) from error
    return Loaded(settings, given, path)


def flag(field: str) -> str:
    """`max_size` → `--max-size`."""
    return f"--{field.replace('_', '-')}"


def variable(field: str) -> str:
    """`max_size` → `TUSPY_MAX_SIZE`."""
    return f"{ENVIRONMENT_PREFIX}{field.upper()}"


def printable(text: str) -> str:
    """One line without control characters, cut to a sensible length."""
    if len(text) > SHOWN_CHARACTERS:
        text = f"{text[:SHOWN_CHARACTERS]}…"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def without_credentials(text: str) -> str:
    """A URL without the name and password that it may carry."""
    # A password with a slash or an @ that nobody has encoded is none of a URL, but still a password.
    text = re.sub(r"//\S*@", "//***@", text)
    return re.sub(r"([?&][^\s=&]*password=)[^\s&]*", r"\1***", text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest of `known`, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _from_environment() -> tuple[dict[str, Given], Path | None]:
    fields = {variable(field): field for field in Settings.model_fields}
    given: dict[str, Given] = {}
    file = None
    for name, value in os.environ.items():
        upper = name.upper()
        if not upper.startswith(ENVIRONMENT_PREFIX):
            continue
        if SERVICE_LINK.fullmatch(f"{upper}={value}"):
            continue
        if upper == FILE_VARIABLE:
            file = Path(value) if value else None
        elif upper not in fields:
            known = did_you_mean(upper, fields)
            raise WrongSettings(f"{printable(name)} is set in the environment, but there is no such setting{known}")
        elif value:  # compose files set what they do not have to an empty text
            given[fields[upper]] = Given(name, value)
    return given, file


def _from_file(path: Path) -> dict[str, Given]:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongSettings(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings(f"{path} is not TOML: {printable(str(error))}") from error
    for key in content:
        if key not in Settings.model_fields:
            known = did_you_mean(key.replace("-", "_"), Settings.model_fields)
            raise WrongSettings(f"{printable(key)} in {path}: there is no such setting{known}")
    return {key: Given(key, value, path) for key, value in content.items()}


def _explain(detail: ErrorDetails, given: Mapping[str, Given]) -> str:
    if not detail["loc"]:  # about several settings at once, by their fields' names
        return re.sub(r"\w+", lambda word: _name(word[0], given), _problem(detail))
    field = str(detail["loc"][0])
    inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"][1:])
    return f"{given.get(field, field)}{inside if field in JSON_FIELDS else ''}: {_problem(detail)}"


def _name(word: str, given: Mapping[str, Given]) -> str:
    if word not in Settings.model_fields or "_" not in word:
        return word
    item = given.get(word)
    if item is None:
        return flag(word)
    return item.name if item.file is None else f"{item.name} (in {item.file})"


PROBLEMS: Final[Mapping[str, str]] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "byte_size": "must be a size such as 5GB or 64MiB",
    "byte_size_unit": "must be a size such as 5GB or 64MiB",
    "finite_number": "must be finite",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "path_type": "must be a path",
    "string_too_short": "is too short (at least {min_length} characters)",
    "string_type": "must be a text",
    "tuple_type": "must be a list of texts",
    "value_error": "{error}",
}


def _problem(detail: ErrorDetails) -> str:
    template = PROBLEMS.get(detail["type"])
    return detail["msg"] if template is None else template.format(**detail.get("ctx", {}))
