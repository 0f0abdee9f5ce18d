"""`alerts list|ack|test`: what somebody was called for, that it has been seen, and whether calls arrive at all."""

from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import in_loop, on_bus
from holdfast.cli.common import NOT_CONFIRMED, Config, Dir, fail, settings_of
from holdfast.cli.listing import Limit
from holdfast.cli.show import Column, Json, clock_time, plain, print_rows

if TYPE_CHECKING:
    from holdfast.bus.client import Client

alerts = typer.Typer(name="alerts", help="Look after alerts: list, ack, test.", no_args_is_help=True)
_COLUMNS = (
    Column("at", "at", clock_time), Column("state", "state"), Column("key", "key"), Column("critical", "critical"),
    Column("since", "opened_at", clock_time), Column("said", "times", right=True), Column("text", "text"), Column("by", "by"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    alerts.command("list")(list_)
    alerts.command("ack")(ack)
    alerts.command("test")(try_)
    app.add_typer(alerts)


@alerts.callback()
def options() -> None:
    """Look after alerts: list, ack, test."""


def list_(
    limit: Limit = 50,
    history: Annotated[bool, typer.Option("--all", help="Every state an alert has had, not only what is open.")] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Alerts that are open; with --all everything that was said, newest first."""

    async def work(client: "Client") -> list[dict[str, Any]]:
        return await _rows(client, limit, history=history)

    print_rows(on_bus(directory, config, work), _COLUMNS, as_json=as_json, empty="no open alerts")


async def _rows(client: "Client", limit: int, *, history: bool) -> list[dict[str, Any]]:
    from holdfast.contracts.alarms import Alert
    from holdfast.contracts.codes import AlertState
    from holdfast.contracts.streams import ALERT

    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    async for entry in client.backwards(ALERT):
        alert = entry.message
        if not isinstance(alert, Alert):
            continue
        is_last = alert.state is not AlertState.UNDELIVERABLE and alert.key not in seen
        if is_last:
            seen.add(alert.key)
        if history or (is_last and alert.state is not AlertState.RECOVERED):
            rows.append(alert.model_dump(mode="json"))
        if len(rows) == limit:
            break
    return rows


def ack(
    key: Annotated[str, typer.Argument(help="The alert's key, as `alerts list` shows it; `all` for every open one.")],
    wait: Annotated[float, typer.Option(min=0, help="How long to wait for the answer, in s.")] = 10,
    directory: Dir = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Say that you have seen it: no reminders and no escalation until it has recovered. It stays open."""
    from holdfast.contracts.alarms import Alert, AlertAck
    from holdfast.contracts.codes import AlertState
    from holdfast.contracts.streams import ALERT, ALERT_ACK
    from holdfast.contracts.wire import Out

    wanted = "" if key == "all" else key

    async def work(client: "Client") -> list[str]:
        open_now = [
            row["key"] for row in await _rows(client, 10_000, history=False) if row["state"] != "acknowledged"
        ]
        if not (open_now if wanted == "" else wanted in open_now):
            fail(f"no open alert {plain(key)}; see `holdfast alerts list`")
        message = AlertAck(id=client.ids.new(), at=client.clock.wall_ms(), key=wanted, by=f"cli:{getuser()}")
        answers: list[str] = []

        def take(answer: Any) -> bool:
            if (
                isinstance(answer, Alert)
                and answer.state is AlertState.ACKNOWLEDGED
                and wanted in {"", answer.key}
            ):
                answers.append(answer.key)
            return bool(answers)

        await client.ask([Out(ALERT_ACK, message)], ALERT, take, wait)
        return answers

    if not on_bus(directory, config, work):
        fail("not confirmed: the alerts service has not answered; repeating it is safe", NOT_CONFIRMED)
    print(f"acknowledged {plain(key)}")


def try_(directory: Dir = None, config: Config = None) -> None:
    """Send a test message to every address, now and from here; exit code 1 where one does not arrive."""
    from holdfast.notify.courier import Apprise
    from holdfast.runtime.faults import Terminal

    settings = settings_of(directory, config).alerts
    given = {"alerts.urls": settings.urls, "alerts.escalation_urls": settings.escalation_urls}
    failures: list[str] = []
    count = 0
    for name, urls in given.items():
        try:
            courier = Apprise(urls.get_secret_value().split(), name)
        except Terminal as error:
            fail(str(error), error.code)
        count += len(courier)
        failures += in_loop(
            courier.deliver("✅ Holdfast: test", "This is what an alert looks like.", critical=False)
        )
    if failures:
        fail("; ".join(failures))
    print(f"sent to {count} addresses" if count else "no addresses: set HOLDFAST_ALERTS_URLS")
