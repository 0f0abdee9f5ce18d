"""`holdfast venue-sim`: the venue as a program, with prices of its own or of a tape, until it is interrupted."""

import asyncio
import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from holdfast.runtime.clock import SystemClock
from venue_sim.catalog import DIALECTS
from venue_sim.market import Quote, read_tape
from venue_sim.server import LOOPBACK, Server

PRETEND_KEY = "sim-key"


def venue_sim(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8490,
    host: Annotated[str, typer.Option(help="Address to listen on. Whoever reaches it may trade and break it: another one only in a network of its own.")] = LOOPBACK,
    key: Annotated[str, typer.Option(help="The API key that it takes.")] = PRETEND_KEY,
    secret: Annotated[str | None, typer.Option(help="The secret that requests are signed with.", show_default="sim-secret, as the venue writes it")] = None,
    dialect: Annotated[str, typer.Option(help=f"Whose wire: {', '.join(DIALECTS)}.")] = "binanceusdm",
    seed: Annotated[int, typer.Option(help="Of the made-up prices.")] = 1,
    every_ms: Annotated[int, typer.Option(min=10, help="Between two quotes.")] = 500,
    tape: Annotated[
        Path | None,
        typer.Option(help="CSV with at,symbol,bid,ask[,size] instead of made-up prices, one row each --every-ms.", show_default=False),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="End after so many seconds.", show_default=False)] = None,
) -> None:  # fmt: skip
    """An exchange that is not there: it speaks the wire of a real one, with faults on demand. No real exchange is reached."""
    if dialect not in DIALECTS:
        print(f"holdfast venue-sim: no dialect {dialect!r}; there are {', '.join(DIALECTS)}")
        raise typer.Exit(1)
    entry = DIALECTS[dialect]
    try:
        server = Server(SystemClock(), key=key, secret=secret or entry.secret, dialect=dialect)
        asyncio.run(_run(server, entry.title, host, port, Walk(seed, entry.starts), every_ms, tape, seconds))
    except (OSError, ValueError) as error:
        print(f"holdfast venue-sim: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _run(
    server: Server, title: str, host: str, port: int, walk: "Walk", every_ms: int, tape: Path | None, seconds: float | None
) -> None:  # fmt: skip
    clock = SystemClock()
    await server.start(port, host)
    print(
        f"{title}, simulated, on {server.url}; what shall happen: {server.url}/sim/state",
        flush=True,
    )
    quotes = iter(read_tape(tape)) if tape is not None else None
    until = None if seconds is None else clock.monotonic_ms() + int(seconds * 1000)
    try:
        while until is None or clock.monotonic_ms() < until:
            if quotes is None:
                for symbol, quote in walk.step(clock.wall_ms()):
                    await server.price(symbol, quote)
            elif (row := next(quotes, None)) is not None:
                await server.price(*row)
            await clock.sleep(every_ms / 1000)
    finally:
        await server.stop()


class Walk:
    """Prices that go up and down by up to a thousandth a step, from a seed."""

    def __init__(self, seed: int, starts: Mapping[str, Decimal]) -> None:
        self._random, self._prices = random.Random(seed), dict(starts)

    def step(self, now: int) -> list[tuple[str, Quote]]:
        """The next quote of every symbol."""
        quotes = []
        for symbol, price in self._prices.items():
            moved = price * (1 + Decimal(self._random.randint(-100, 100)) / 100_000)
            self._prices[symbol] = moved.quantize(Decimal("0.1"))
            quotes.append((symbol, Quote(self._prices[symbol], self._prices[symbol] + Decimal("0.1"), now)))
        return quotes
