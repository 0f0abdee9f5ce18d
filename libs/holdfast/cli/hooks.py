"""`hooks list|secret`: the addresses of alerts from outside, their secrets, and what to write into the alert."""

import json
from typing import Annotated

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Json, print_json

hooks = typer.Typer(name="hooks", help="Alerts from outside that become intents.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    hooks.command("list")(list_hooks)
    hooks.command("secret")(secret)
    app.add_typer(hooks)


def list_hooks(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Every hook: its address, what it may trade, its rate."""
    settings = settings_of(directory, config)
    door = settings.hook_door
    rows = [
        {
            "hook": name,
            "url": f"http://{door.host}:{door.port}/hooks/{name}",
            "symbols": hook.symbols,
            "rate_per_minute": str(hook.rate_per_minute),
        }
        for name, hook in settings.hooks.items()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(
            f"{row['hook']}: POST {row['url']}; may trade {', '.join(row['symbols'])}; at most {row['rate_per_minute']} a minute"
        )
    if not rows:
        print("no hook is configured; write [hooks.NAME] into holdfast.toml, see docs/hooks.md")


def secret(
    name: Annotated[str, typer.Argument(help="The hook.")], directory: Dir = None, config: Config = None
) -> None:
    """Show the secret of a hook, made now where there is none, and the alert message that holds it."""
    from holdfast.domain.hooks import SECRET, places_of
    from holdfast.runtime.hook_secrets import hook_secret, secret_file
    from holdfast.runtime.secret_files import SecretRefused

    settings = settings_of(directory, config)
    hook = settings.hooks.get(name)
    if hook is None:
        fail(f"no hook {name}; there are {', '.join(settings.hooks) or 'none'}")
    try:
        found = hook_secret(settings, name)
    except SecretRefused as error:
        fail(str(error))
    wanted = [*places_of(hook.intent), *hook.close_when, hook.time_field]
    message = {SECRET: found, **dict.fromkeys(dict.fromkeys(wanted), "...")}
    print(
        f"the secret is in {secret_file(settings, name)}; the alert's message has to hold it:\n\n{json.dumps(message, indent=2)}"
    )
