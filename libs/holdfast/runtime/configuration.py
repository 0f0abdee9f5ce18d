"""Where settings come from, and clear words for whoever mistypes one.

Sources, a later one over an earlier one: defaults, `holdfast.toml` (`--config`, else HOLDFAST_CONFIG, else the file of that
name here), `.env` here, the environment, the command line. An empty variable counts as not set. `DRY_RUN=1` wins over all.

The trick: every source is first flattened into `section.key -> (value, where it stands)`, so that each complaint can name
its file and line or its variable, and `holdfast config` can say where each value comes from. Only then is `Settings` built.
Secrets never stand in the TOML file: an address with a password there is refused. NAME_FILE names a file with the value of NAME.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_origin
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from holdfast.runtime.exit_settings import contradiction, gathered, inner_key
from holdfast.runtime.faults import EXIT_CONFIG
from holdfast.runtime.secret_files import SecretRefused, hide, read_secret, without_secrets
from holdfast.runtime.settings import Settings
from holdfast.runtime.toml_lines import lines_of, nearest

EXIT_CODE = EXIT_CONFIG
"""What a process ends with when its configuration is wrong: starting it again would not help."""
FILE_NAME = "holdfast.toml"
ALIASES = {
    "HOLDFAST_REDIS_URL": "bus.url",
    "HOLDFAST_STATE_DIR": "state.directory",
    "DRY_RUN": "dry_run",
    "QT_ALLOW_HEDGING": "hedging.allow",
}
"""Variables with a name of their own, beside HOLDFAST_<SECTION>_<KEY>."""
ELSEWHERE = frozenset(
    {"HOLDFAST_CONFIG", "HOLDFAST_DEMO", "HOLDFAST_ENV_FILE", "HOLDFAST_SUPERVISOR", "HOLDFAST_BUS_MEM_LIMIT"}
)
"""HOLDFAST_* variables that are no settings: the file's place, three of Compose's, the supervisor's pid."""
FROM_FILE = "_FILE"
"""NAME_FILE names a file that holds the value of NAME; only its owner may read it."""
_PASSWORD = re.compile(r"(?P<start>[a-zA-Z][a-zA-Z0-9+.-]*://[^:@/\s]*):(?P<password>[^@\s]+)@")
_IN_QUERY = re.compile(r"(?P<start>[?&](?:ssl)?password=)(?P<password>[^&\s]+)", re.IGNORECASE)
_MOST_COMPLAINTS = 10
_FALSE = frozenset({"0", "false", "no", "off", "n", "f"})


class ConfigurationError(Exception):
    """The configuration is wrong; the text says what, where and what to write instead."""


@dataclass(frozen=True, slots=True)
class Given:
    """One value as a source states it."""

    value: Any
    source: str
    inside: Mapping[str, str] = dataclass_field(default_factory=dict, compare=False)
    """Of a table: the place of each key in it."""


Flat = dict[str, Given]


def redact(text: str) -> str:
    """*text* with the password of every address in it, and every known secret, replaced by ***."""
    return without_secrets(_IN_QUERY.sub(r"\g<start>***", _PASSWORD.sub(r"\g<start>:***@", text)))


def _has_password(text: str) -> bool:
    return bool(_PASSWORD.search(text) or _IN_QUERY.search(text))


@cache
def keys() -> Mapping[str, FieldInfo]:
    """Every setting as `section.key` (the few without a section as `key`), in the order of `Settings`."""
    return dict(_keys_of(Settings, ""))


def _keys_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def variable_of(key: str) -> str:
    """The environment variable of a setting: `bus.port` is HOLDFAST_BUS_PORT."""
    return "HOLDFAST_" + key.replace(".", "_").upper()


@cache
def variables() -> Mapping[str, str]:
    """Variable -> setting, aliases included. Tables (instruments) can only be given in the file."""
    own = {variable_of(key): key for key, field in keys().items() if not _is_table(field)}
    return own | ALIASES


def load(
    *,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    dotenv: Path = Path(".env"),
) -> Settings:
    """The effective settings. *overrides* are `{"feed.spec": ...}`; a None there is not given.

    Raises ConfigurationError, which says all that is wrong, each with its place.
    """
    return _load(config, env, overrides, dotenv)[0]


def explain(
    *,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    dotenv: Path = Path(".env"),
) -> list[tuple[str, Any, str]]:
    """Every setting as (key, effective value, source), passwords replaced by ***. Raises ConfigurationError."""
    settings, given = _load(config, env, overrides, dotenv)
    rows: list[tuple[str, Any, str]] = []
    for key in keys():
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        source = given[key].source if key in given else "default"
        rows.append((key, redact(value) if isinstance(value, str) else value, source))
    return rows


def config_path(config: Path | None, env: Mapping[str, str]) -> Path | None:
    """The TOML file to read: *config*, else HOLDFAST_CONFIG, else ./holdfast.toml where there is one."""
    if config is None and env.get("HOLDFAST_CONFIG"):
        config = Path(env["HOLDFAST_CONFIG"])
    if config is not None:
        return config
    return Path(FILE_NAME) if Path(FILE_NAME).exists() else None


def _load(
    config: Path | None, env: Mapping[str, str] | None, overrides: Mapping[str, Any] | None, dotenv: Path
) -> tuple[Settings, Flat]:
    environment = dict(os.environ if env is None else env)
    local, lines = _read_dotenv(dotenv)
    given: Flat = {}
    path = config_path(config, local | environment)
    if path is not None:
        given |= _read_toml(path)
    given |= _from_variables(local, {name: f"{dotenv}, line {lines[name]}: {name}" for name in local})
    given |= _from_variables(environment, {name: f"environment: {name}" for name in environment})
    given |= _from_overrides(overrides or {})
    for values, where in ((local, str(dotenv)), (environment, "environment")):
        if values.get("DRY_RUN") and values["DRY_RUN"].strip().lower() not in _FALSE:
            given["dry_run"] = Given(True, f"{where}: DRY_RUN")
    try:
        return Settings.model_validate(_nested(given)), given
    except ValidationError as error:
        raise ConfigurationError(_complaints(error, given)) from None


def is_secret(key: str) -> bool:
    """Whether the setting is a secret by its nature; an address is one only as far as it holds a password."""
    return keys()[key].annotation is SecretStr


def _hide(key: str, text: str) -> None:
    """No log of this process shows the secrets in *text*, the value of *key*."""
    if is_secret(key):
        hide(text)
    for match in (*_PASSWORD.finditer(text), *_IN_QUERY.finditer(text)):
        hide(match["password"])
        hide(unquote(match["password"]))


def _nested(given: Flat) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, one in given.items():
        *sections, name = key.split(".")
        table = document
        for section in sections:
            table = table.setdefault(section, {})
        table[name] = one.value
    return document


# --- the file


def _read_toml(path: Path) -> Flat:
    import tomllib  # no file, no parser

    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text, parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    given: Flat = {}
    wrong: list[str] = []
    _flatten(gathered(document), "", path, lines_of(text), given, wrong)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return given


def _flatten(
    table: Mapping[str, Any], prefix: str, path: Path, lines: Mapping[str, int], given: Flat, wrong: list[str]
) -> None:
    known = keys()
    for name, value in table.items():
        key = prefix + name
        place = f"line {lines[key]}" if key in lines else "somewhere in it"
        if key in known:
            if key == "live":
                wrong.append(f"{path}: live, {place}: only the environment may set it, as HOLDFAST_LIVE=yes")
            if is_secret(key) or any(map(_has_password, _texts(value))):
                what = "a password" if is_secret(key) else "an address with a password"
                wrong.append(
                    f"{path}: {key}, {place}: {what} does not belong into this file; put it into a file of its own, named by {variable_of(key)}{FROM_FILE}, "
                    f"or into the environment, as {variable_of(key)}"
                )
            at = key.removesuffix(".symbols") if key == "exits.symbols" else key
            inside = {
                name[len(at) + 1 :]: f"{path}, line {line}"
                for name, line in lines.items()
                if name.startswith(at + ".")
            }
            if isinstance(value, dict) and inside and key not in lines:
                place = next(iter(inside.values())).rpartition(", ")[2]
            given[key] = Given(value, f"{path}, {place}", inside)
        elif any(other.startswith(key + ".") for other in known):
            if isinstance(value, dict):
                _flatten(value, key + ".", path, lines, given, wrong)
            else:
                wrong.append(
                    f"{path}: {name}, {place}: this is a section; write [{key}] and its keys below it"
                )
        else:
            wrong.append(f"{path}: {_unknown(name, prefix, place, isinstance(value, dict))}")


def _unknown(name: str, prefix: str, place: str, is_table: bool) -> str:
    here = {other.removeprefix(prefix).partition(".")[0] for other in keys() if other.startswith(prefix)}
    close = nearest(name, sorted(here))
    elsewhere = [other.rpartition(".")[0] for other in keys() if other.rpartition(".")[2] == name]
    what = (
        f"unknown section [{prefix}{name}]"
        if is_table
        else f"unknown key {name}" + (f" in [{prefix[:-1]}]" if prefix else "")
    )
    if close:
        return f"{what}, {place}; did you mean {close[0]}?"
    if elsewhere:
        return f"{what}, {place}; it belongs into {' or '.join(f'[{section}]' if section else 'the top of the file' for section in elsewhere)}"
    return f"{what}, {place}; known: {', '.join(sorted(here))}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


# --- variables and the command line


def _read_dotenv(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Variables of the file, and the line of each. A file that is there but cannot be read is an error, never empty."""
    try:
        with path.open(encoding="utf-8") as stream:
            from dotenv.parser import parse_stream

            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error}; settings in it would be silently lost"
        ) from None
    for binding in bindings:
        if binding.error:
            raise ConfigurationError(
                f"{path}, line {binding.original.line}: not NAME=VALUE: {redact(binding.original.string.strip())!r}"
            )
    values = {one.key: one.value for one in bindings if one.key is not None and one.value is not None}
    return values, {one.key: one.original.line for one in bindings if one.key is not None}


def _from_variables(values: Mapping[str, str], sources: Mapping[str, str]) -> Flat:
    given: Flat = {}
    wrong: list[str] = []
    known = variables()
    for name, stated in values.items():
        try:
            setting, text = _from_file(name, stated) if _is_file(name, stated) else (name, stated)
        except SecretRefused as error:
            wrong.append(f"{sources[name]}: {error}")
            continue
        if setting in known:
            key = known[setting]
            if text == "" or (name == "DRY_RUN" and values.get(variable_of(key))):
                continue  # DRY_RUN is looked at once more, last
            _hide(key, text)
            one = Given(_parsed(key, text), sources[name])
            if key in given and given[key].value != one.value:
                wrong.append(
                    f"{given[key].source} and {sources[name]} both set {key}, to different values; keep one"
                )
            given[key] = one
        elif name.startswith("HOLDFAST_") and name not in ELSEWHERE:
            close = nearest(name, known)
            wrong.append(
                f"{sources[name]}: no such setting"
                + (f"; did you mean {close[0]}?" if close else "; `holdfast config` lists them")
            )
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return given


def _is_file(name: str, stated: str) -> bool:
    setting = name.removesuffix(FROM_FILE)
    return (
        setting != name
        and name not in ELSEWHERE
        and name not in variables()
        and setting in variables()
        and bool(stated)
    )


def _from_file(name: str, path: str) -> tuple[str, str]:
    """The variable that *name* stands for, and the text of the file at *path*. Raises SecretRefused."""
    return name.removesuffix(FROM_FILE), read_secret(Path(path), is_hidden=False)


def _parsed(key: str, text: str) -> Any:
    """A list is written with commas; everything else is left to the types of Settings."""
    if get_origin(keys()[key].annotation) is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text.strip()


def _from_overrides(overrides: Mapping[str, Any]) -> Flat:
    for key in overrides:
        if key not in keys():
            raise ConfigurationError(f"command line: no such setting: {key}")
    return {key: Given(value, "command line") for key, value in overrides.items() if value is not None}


def _is_table(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is dict


# --- complaints


def _complaints(error: ValidationError, given: Flat) -> str:
    """One line per wrong setting: where it stands, what stands there, what is expected, and what the setting is for."""
    found: dict[tuple[str, str], tuple[Any, list[str]]] = {}
    for one in error.errors(include_url=False, include_context=False):
        if not one["loc"]:
            return contradiction(one["msg"].removeprefix("Value error, "), given)
        key, rest = _key_at(tuple(str(part) for part in one["loc"]))
        inner = inner_key(rest, given[key].inside if key in given else {}) if _is_table(keys()[key]) else ""
        expected = (
            "no such key" if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, ")
        )
        found.setdefault((key, inner), (one["input"], []))[1].append(expected[:1].lower() + expected[1:])
    texts: list[str] = []
    for (key, inner), (value, expected_texts) in found.items():
        stated = given.get(key, Given(value, "default"))
        shown = "***" if is_secret(key) else redact(str(value if inner else stated.value))
        what = f"{stated.inside.get(inner, stated.source)}: {key}{f' ({inner})' if inner else ''} = {shown!r}: {', or '.join(expected_texts)}"
        texts.append(f"{what}. {keys()[key].description or ''}".rstrip())
    return "\n".join(
        texts[:_MOST_COMPLAINTS]
        + ([f"and {len(texts) - _MOST_COMPLAINTS} more"] if len(texts) > _MOST_COMPLAINTS else [])
    )


def _key_at(location: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    for length in range(len(location), 0, -1):
        if (key := ".".join(location[:length])) in keys():
            return key, location[length:]
    raise AssertionError(f"no setting at {location}")  # every leaf of Settings is in keys()
