"""Who wishes: a producer that keeps its intents and repeats the unanswered ones with their ids, and one that means harm.

Orders to open and close, with and without exits, market and limit, limits that take each other's place; and beside them what strangers send: malformed, expired,
replayed, an id once more with other content, both sides at once.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from holdfast.contracts.streams import CONTROL, INTENT_RESULT, ORDER_INTENT
from proving.sim.bus import SimBus
from proving.sim.dice import Dice, Faults
from proving.sim.market import Market
from proving.sim.server import Fields, Id
from proving.sim.trace import Trace

EVERY_S = (0.05, 0.6)
REPEAT_AFTER_S = 5.0
EXPIRED_MS = 3_600_000
"""So long ago that no clock of this world can think it is still to come."""
NOT_AN_END = frozenset({"accepted", "unknown"})
TO_A_STRANGER = "duplicate"
"""The answer to whoever used an id once more with other content: the first answer stands."""
FORGED: tuple[bytes, ...] = (
    b"",
    b"not json",
    b"[]",
    b'{"symbol":"BTC/USDT","side":"buy"}',
    b'{"symbol":"BTC/USDT","side":"buy","quantity":"-1"}',
    b'{"symbol":"BTC/USDT","side":"buy","quantity":"NaN"}',
    b'{"symbol":"BTC/USDT","side":"buy","quantity":"1","leverage":"1000"}',
    b'{"symbol":"NOPE","side":"buy","quantity":"1"}',
    b'{"id":"forged-account","symbol":"BTC/USDT","side":"buy","quantity":"1","account":"nobody"}',
    b'{"id":"forged-type","symbol":"BTC/USDT","side":"buy","quantity":0.1}',
    b'{"action":"close","symbol":"BTC/USDT","position_id":"p-nobody"}',
    b'{"action":"cancel","order_id":"nobody"}',
    b"{" + b'"x":' * 20_000,
)


@dataclass(slots=True)
class Wish:
    """An intent of ours."""

    body: bytes
    sent_s: float
    ended: str = ""
    times: int = 1


class Producer:
    """See the module."""

    def __init__(
        self, bus: SimBus, market: Market, dice: Dice, faults: Faults, trace: Trace, accounts: list[str]
    ) -> None:
        self._bus, self._market, self._dice, self._faults, self._trace = bus, market, dice, faults, trace
        self._accounts = accounts
        self.wishes: dict[str, Wish] = {}
        self.contradicted: list[tuple[str, str]] = []
        """Wishes that were told two different ends."""
        self._controls = 0
        self._sides: dict[str, str] = {}
        self._resting: dict[tuple[str, str, str], str] = {}
        """Its newest resting entry, by account, symbol and side."""
        self.is_wishing = True
        self.eagerness = 2.0 ** dice.between("producer|eagerness", -1.5, 1.0)
        bus.taps.append(self._hear)

    def start(self) -> None:
        self._later()

    def _later(self) -> None:
        pause = self._dice.between("producer|every", *EVERY_S) * self.eagerness
        self._bus.loop.call_later(pause, self._turn)

    def _turn(self) -> None:
        self._later()
        now = self._bus.loop.time()
        for wish in self.wishes.values():
            if not wish.ended and now - wish.sent_s > REPEAT_AFTER_S * min(wish.times, 4):
                wish.sent_s, wish.times = now, wish.times + 1
                self._send(wish.body)
        if self.is_wishing:
            self._wish(now)
            self._harm(now)
            self._steer(now)

    def _wish(self, now: float) -> None:
        document = self._document()
        self._keep(document, now)
        if self._faults.strike("input.opposed", "producer", now) and document.get("side"):
            other = dict(document, side="sell" if document["side"] == "buy" else "buy")
            self._keep(other, now)

    def _keep(self, document: dict[str, Any], now: float) -> None:
        intent_id = f"w{len(self.wishes) + 1}"
        if document.get("good_till") is not None:  # it rests: sometimes in the place of the one before
            place = (document["account"], document["symbol"], document["side"])
            if (before := self._resting.get(place)) and self._dice.roll("producer|replace") < 0.5:
                document = {**document, "replaces": before}
            self._resting[place] = intent_id
        body = orjson.dumps({"id": intent_id, "at": self._bus.wall_ms(), **document})
        self.wishes[intent_id] = Wish(body, now)
        self._send(body)

    def _document(self) -> dict[str, Any]:
        dice = self._dice
        symbol = dice.pick("producer|symbol", tuple(self._market.price))
        document: dict[str, Any] = {
            "symbol": symbol,
            "account": dice.pick("producer|account", self._accounts),
        }
        kind = dice.roll("producer|kind")
        if kind < 0.22:
            document["action"] = "close"
            if dice.roll("producer|part") < 0.3:
                document["quantity"] = self._quantity(symbol)
            if dice.roll("producer|resting") < 0.35:
                document |= {"type": "limit", "price": self._level(symbol, "far", -4.0, 4.0)}
            return document
        if kind < 0.27:
            return document | {"action": "cancel"}
        document |= {
            "side": self._side(symbol),
            "quantity": self._quantity(symbol),
        }
        if kind > 0.85:
            bid, ask = self._market.quote(symbol)
            near = float(bid if document["side"] == "buy" else ask)
            document |= {
                "type": "limit",
                "price": f"{near * (1 + dice.between('producer|limit', -0.4, 0.4) / 100):.2f}",
                "good_till": self._bus.wall_ms() + dice.whole("producer|good", 1_000, 20_000),
            }
        return document | self._exits(symbol, document["side"])

    def _level(self, symbol: str, name: str, low_pct: float, high_pct: float) -> str:
        """A price so many percent from where the market is."""
        bid, _ = self._market.quote(symbol)
        return f"{float(bid) * (1 + self._dice.between(f'producer|{name}', low_pct, high_pct) / 100):.2f}"

    def _side(self, symbol: str) -> str:
        """Mostly the side it has wished for before, so that positions grow; once in a while the other one."""
        if self._dice.roll("producer|turn") < 0.15:
            self._sides[symbol] = "sell" if self._sides.get(symbol) == "buy" else "buy"
        return self._sides.setdefault(symbol, self._dice.pick("producer|side", ("buy", "sell")))

    def _quantity(self, symbol: str) -> str:
        scale = {"BTC": 0.01, "ETH": 0.1}.get(symbol[:3], 1.0)
        return f"{self._dice.whole('producer|quantity', 1, 40) * scale:.2f}"

    def _exits(self, symbol: str, side: str) -> dict[str, Any]:
        dice, wanted = self._dice, {}
        if dice.roll("producer|exits") < 0.6:
            wanted["stop_loss"] = f"{dice.between('producer|stop', 0.4, 4.0):.2f}%"
        if dice.roll("producer|exits") < 0.5:
            wanted["take_profit"] = f"{dice.between('producer|profit', 0.4, 5.0):.2f}%"
        if dice.roll("producer|exits") < 0.15:
            away = -1 if side == "buy" else 1
            wanted["stop_loss"] = self._level(symbol, "stop level", away * 0.3, away * 2.0)
            wanted["take_profit"] = self._level(symbol, "profit level", -away * 0.3, -away * 2.0)
        if dice.roll("producer|exits") < 0.2:
            wanted["ttl_s"] = str(dice.whole("producer|ttl", 2, 60))
        return wanted

    def _steer(self, now: float) -> None:
        """A forged control under the id of an earlier one, in one breath with a good one, which must not suffer."""
        if not self._faults.strike("input.changed", "control", now):
            return
        if self._controls:
            forged = {
                "id": f"c{self._controls}",
                "at": self._bus.wall_ms(),
                "state": "active",
                "by": "mallory",
            }
            self._send(orjson.dumps(forged), CONTROL.name.encode(), wake=False)
        self._control("active")

    def _control(self, state: str) -> None:
        self._controls += 1
        document = {"id": f"c{self._controls}", "at": self._bus.wall_ms(), "state": state, "by": "sim"}
        self._send(orjson.dumps(document), CONTROL.name.encode())

    # -- harm ---------------------------------------------------------------------------------------------------------

    def _harm(self, now: float) -> None:
        dice, faults = self._dice, self._faults
        if faults.strike("input.forged", "producer", now):
            self._send(dice.pick("producer|forged", FORGED))
        if faults.strike("input.expired", "producer", now):
            self._keep({**self._document(), "expires_at": self._bus.wall_ms() - EXPIRED_MS}, now)
        if self.wishes and faults.strike("input.replayed", "producer", now):
            self._send(dice.pick("producer|replayed", list(self.wishes.values())).body)
        if self.wishes and faults.strike("input.changed", "producer", now):
            document = orjson.loads(dice.pick("producer|changed", list(self.wishes.values())).body)
            self._send(orjson.dumps({**document, "quantity": "0.77"}))

    def _send(self, body: bytes, stream: bytes = ORDER_INTENT.name.encode(), *, wake: bool = True) -> None:
        bus = self._bus
        if bus.loop.time() < bus.gone_until_s or bus.server.is_full:
            return
        bus.server.append(stream, {b"body": body})
        if wake:
            bus.wake()

    def _hear(self, name: bytes, _: Id, fields: Fields) -> None:
        if name != _RESULTS:
            return
        answer = orjson.loads(fields[b"body"])
        wish = self.wishes.get(answer["intent_id"])
        if wish is None or answer["status"] in NOT_AN_END or answer["status"] == TO_A_STRANGER:
            return
        if wish.ended not in {"", answer["status"]}:
            text = f"wish {answer['intent_id']} ended as {wish.ended}, and then as {answer['status']}"
            self.contradicted.append(("INV-4", text))
        wish.ended = answer["status"]

    def unanswered(self) -> list[str]:
        """Ids of wishes that have not been told their end."""
        return [intent_id for intent_id, wish in self.wishes.items() if not wish.ended]

    def outlived(self) -> list[tuple[str, str]]:
        """Wishes that were carried out though they had expired before anybody could read them."""
        return [
            ("INV-3", f"wish {intent_id} had expired, and ended as {wish.ended}")
            for intent_id, wish in self.wishes.items()
            if wish.ended in _CARRIED_OUT and _is_expired(orjson.loads(wish.body))
        ]


def _is_expired(document: dict[str, Any]) -> bool:
    return bool(document.get("expires_at", document["at"]) < document["at"])


_CARRIED_OUT = frozenset({"filled", "partly_filled"})
_RESULTS = INTENT_RESULT.name.encode()
