"""`holdfast config`: every effective value and where it comes from. With --example, the text of `.env.example`."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import orjson
import typer
from pydantic import BaseModel, SecretStr

from holdfast.cli.common import Config, Dir, fail, overrides_of
from holdfast.contracts.money import canonical
from holdfast.runtime.configuration import (
    ALIASES,
    EXIT_CODE,
    ConfigurationError,
    explain,
    keys,
    variable_of,
    variables,
)
from holdfast.runtime.settings import Settings

_HEAD = """\
# Every setting of Holdfast, with its unit and its default. `make docs` writes this file from the code; a test compares them.
# `cp .env.example .env`, take the # away where you want another value. holdfast.toml takes the same settings as sections and
# keys; the environment goes over .env, .env over holdfast.toml. DRY_RUN=1 forces paper whatever else is set.

# Docker Compose only: the file its services take settings from (this line is in force once this file is named .env),
# whether the demonstration runs (1 or 0), and the memory of the bus's container: four times bus.maxmemory_mb is on the safe side.
HOLDFAST_ENV_FILE=.env
# HOLDFAST_DEMO=1
# HOLDFAST_BUS_MEM_LIMIT=2g
"""


def register(app: typer.Typer) -> None:
    app.command("config")(config)


def config(
    directory: Dir = None,
    file: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array of rows.")] = False,
    example: Annotated[bool, typer.Option("--example", hidden=True, help="Print .env.example.")] = False,
) -> None:
    """Show every setting: its effective value, and where that comes from. Passwords are not shown."""
    if example:
        print(example_text(), end="")
        return
    try:
        rows = explain(config=file, overrides=overrides_of(directory))
    except ConfigurationError as error:
        fail(str(error), EXIT_CODE)
    if as_json:
        print(
            orjson.dumps(
                [{"key": key, "value": _plain(value), "source": source} for key, value, source in rows]
            ).decode()
        )
        return
    width = max(len(key) for key, _, _ in rows)
    values = [value_text(value) for _, value, _ in rows]
    value_width = min(max(map(len, values)), 40)
    for (key, _, source), value in zip(rows, values, strict=True):
        print(f"{key:{width}}  {value or '-':{value_width}}  {source}")


def value_text(value: Any) -> str:
    """A value as a variable would state it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return canonical(value)
    if isinstance(value, list):
        return ",".join(map(value_text, value))
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else ""
    if isinstance(value, dict):
        return orjson.dumps(_plain(value)).decode() if value else ""
    return str(value)


def _plain(value: Any) -> Any:
    """JSON-ready: amounts as canonical strings, paths as text."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return value_text(value)


def example_text() -> str:
    """The text of `.env.example`, from the code."""
    return _HEAD + "".join(_example_lines())


def _example_lines() -> Iterator[str]:
    defaults, section = Settings(), ""
    also: dict[str, list[str]] = {}
    for name, key in ALIASES.items():
        also.setdefault(key, []).append(name)
    for key, field in keys().items():
        here, _, name = key.rpartition(".")
        if here != section:
            section = here
            yield f"\n# --- [{section}]\n" if section else ""
        elif key == next(iter(keys())):
            yield "\n"
        if variable_of(key) not in variables():
            each = (
                "[producers.NAME]: one table a producer"
                if key == "producers"
                else f'[{key}."SYMBOL"]: one table a symbol'
            )
            what = field.description or each if key != "producers" else each
            yield (
                f"# {key}, in holdfast.toml only: {what}\n"
                if section
                else f"\n# --- in holdfast.toml only: {what}\n"
            )
            continue
        value: Any = defaults
        for part in section.split(".") if section else ():
            value = getattr(value, part)
        what = field.description or name
        more = [alias for alias in also.get(key, ()) if alias not in what]
        what += f" Also: {', '.join(more)}." if more else ""
        yield f"# {what}\n# {variable_of(key)}={value_text(getattr(value, name))}\n"
