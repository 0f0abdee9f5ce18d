"""`token ROLE`: a new token for the dashboard; whoever had logged in with the old one has to log in again."""

from typing import Annotated

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of


def register(app: typer.Typer) -> None:
    app.command("token")(token)


def token(
    role: Annotated[str, typer.Argument(help="operate: press the dashboard's buttons. view: look from another machine.")],
    directory: Dir = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Make a new token for the dashboard and show it, this once. The old one of that role opens nothing any more."""
    from holdfast.runtime.front_door import ROLES, Tokens

    if role not in ROLES:
        fail(f"no role {role!r}; there are {', '.join(ROLES)}", 2)
    settings = settings_of(directory, config)
    try:
        print(Tokens(settings.dir / "dashboard").replace(role))
    except (OSError, ValueError) as error:
        fail(str(error))
