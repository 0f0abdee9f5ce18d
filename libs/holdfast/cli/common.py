"""What all commands share: the options --dir and --config, settings or a clear end, and exit codes.

Exit codes are stable: 0 done, 1 it did not work, 2 wrong usage, 3 not confirmed, 78 the configuration is wrong. (`check` has
its own three: 0 consistent, 1 partial, 2 critical.)
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from holdfast.runtime.configuration import EXIT_CODE, ConfigurationError, load
from holdfast.runtime.settings import Settings

FAILED, NOT_CONFIRMED = 1, 3

Dir = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="All data of this installation, the state files too. Default: var.", show_default=False
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file. Default: holdfast.toml, if there is one.",
        show_default=False,
    ),
]


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Say *text* on standard error and end with *code*."""
    print(f"holdfast: {text}", file=sys.stderr)
    raise typer.Exit(code)


def overrides_of(directory: Path | None, **more: Any) -> dict[str, Any]:
    """What the command line sets: --dir moves the state files too. Keys of *more* have __ for the dot; None is not given."""
    given = {key.replace("__", "."): value for key, value in more.items() if value is not None}
    if directory is not None:
        given |= {"dir": directory, "state.directory": str(directory / "state")}
    return given


def settings_of(
    directory: Path | None, config: Path | None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The effective settings; a wrong configuration ends the command with code 78 and its complaint."""
    try:
        return load(config=config, overrides={**overrides_of(directory), **(overrides or {})})
    except ConfigurationError as error:
        fail(str(error), EXIT_CODE)
