"""Run the venue: what `holdfast venue-sim` starts."""

import typer

from venue_sim.command import venue_sim

app = typer.Typer(
    name="holdfast venue-sim",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(venue_sim)

if __name__ == "__main__":
    app(prog_name="holdfast venue-sim")
