"""Run a replay: what `holdfast replay` starts."""

import logging

import typer

from replay.command import replay

app = typer.Typer(
    name="holdfast replay",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(replay)

if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    app(prog_name="holdfast replay")
