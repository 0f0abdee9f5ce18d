"""What a person types. `main` is the command `holdfast`; where only the client is installed it says so and ends with 69."""

import sys


def main() -> None:
    """The entry point."""
    from holdfast.runtime import early  # noqa: F401 - for what it does

    try:
        from holdfast.cli.main import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"holdfast", "services", "proving", "replay"}:
            raise
        print(
            f"this installation has only holdfast.client ({error}). Running Holdfast: pip install 'holdfast[services]'",
            file=sys.stderr,
        )
        sys.exit(69)
    run()
