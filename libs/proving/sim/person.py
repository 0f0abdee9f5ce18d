"""A person at the controls of a simulated world: halts and resumes, moves exits, closes things by the express lane."""

from typing import TYPE_CHECKING, Any

import orjson

from holdfast.contracts.streams import CONTROL, EXIT_ADJUST, ORDER_INTENT_EXIT, Stream

if TYPE_CHECKING:
    from proving.sim.world import World

EVERY_S = (0.4, 0.6)
STATES = ("active", "active", "reduce_only", "halted")


class Person:
    """See the module."""

    def __init__(self, world: "World") -> None:
        self._world, self._count = world, 0
        self.is_here = True

    def start(self) -> None:
        world = self._world
        world.loop.call_later(world.dice.between("person|every", *EVERY_S), self._turn)

    def leave(self) -> None:
        """Trading is allowed again, and nothing more is asked for."""
        self.is_here = False
        self._say(CONTROL, state="active", scope="all", by="person", why="the day is over")

    def _turn(self) -> None:
        if not self.is_here:
            return
        self.start()
        if self._strike("person.control"):
            self._control()
        if self._strike("person.adjust"):
            self._adjust()
        if self._strike("person.close"):
            self._close()

    def _strike(self, kind: str) -> bool:
        world = self._world
        struck = world.faults.strike(kind, "person", world.loop.time())
        if struck:
            world.trace.fault(world.loop.time(), kind)
        return struck

    def _control(self) -> None:
        dice = self._world.dice
        scope: dict[str, Any] = {"scope": "all"}
        if dice.roll("person|scope") < 0.4:
            scope = {"scope": "account", "target": dice.pick("person|account", self._world.settings.accounts)}
        self._say(CONTROL, **scope, state=dice.pick("person|state", STATES), by="person", why="sim")

    def _adjust(self) -> None:
        """Tighter, looser, on the wrong side, for a version that has moved on: whatever a person types."""
        dice, positions = self._world.dice, self._world.inspector.positions()
        if not positions:
            return
        row = dice.pick("person|position", positions)
        price = float(self._world.market.quote(row["symbol"])[0])
        wish: dict[str, Any] = {"position_id": row["position_id"], "by": "person", "why": "sim"}
        if dice.roll("person|what") < 0.7:
            wish["stop_loss"] = f"{price * (1 + dice.between('person|stop', -4.0, 4.0) / 100):.2f}"
        if dice.roll("person|what") < 0.4:
            wish["take_profit"] = f"{price * (1 + dice.between('person|profit', -4.0, 4.0) / 100):.2f}"
        if dice.roll("person|what") < 0.2:
            wish["ttl_s"] = str(dice.whole("person|ttl", 1, 30))
        if dice.roll("person|insist") < 0.3:
            wish["insist"] = True
        if dice.roll("person|version") < 0.2:
            wish["position_version"] = row.get("version", 1)
        self._say(EXIT_ADJUST, **wish)

    def _close(self) -> None:
        dice, world = self._world.dice, self._world
        symbol = dice.pick("person|symbol", tuple(world.market.price))
        account = dice.pick("person|whose", world.settings.accounts)
        self._say(ORDER_INTENT_EXIT, action="close", symbol=symbol, account=account, reason="flatten")

    def _say(self, stream: Stream, **document: Any) -> None:
        bus = self._world.bus
        if bus.loop.time() < bus.gone_until_s or bus.server.is_full:
            return
        self._count += 1
        body = {"id": f"person-{self._count}", "at": bus.wall_ms(), **document}
        bus.server.append(stream.name.encode(), {b"body": orjson.dumps(body)})
        bus.wake()
