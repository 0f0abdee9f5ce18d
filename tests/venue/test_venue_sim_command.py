"""`holdfast venue-sim` as a person types it."""

import pytest
from typer.testing import CliRunner

from venue_sim.__main__ import app
from venue_sim.answers import Venue
from venue_sim.catalog import DIALECTS


def run(*arguments):
    return CliRunner().invoke(app, ["--port", "0", "--for", "0", *arguments])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_says_whose_wire_it_speaks_and_where(dialect):
    done = run("--dialect", dialect)
    assert (
        done.exit_code,
        done.output.startswith(f"{DIALECTS[dialect].title}, simulated, on http://127.0.0.1:"),
    ) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dialect", "nosuch"), "there are binanceusdm, binance, kraken"),
        (("--dialect", "kraken", "--secret", "no base64"), "the secret is not base64"),
        (("--tape", "/nowhere/quotes.csv"), "No such file"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments, said):
    done = run("--for", "1", *arguments)
    assert (done.exit_code, said in done.output) == (1, True), done.output


def test_made_up_prices_are_of_symbols_that_the_venue_has():

    for name, entry in DIALECTS.items():
        venue = Venue(lambda: 0, key="k", secret=entry.secret, dialect=name)
        assert entry.starts.keys() == venue.exchange.specs.keys()
