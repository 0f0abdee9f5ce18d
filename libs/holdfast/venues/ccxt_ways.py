"""Where exchanges differ behind ccxt's common words: how an order is named, found again, and limited in time; how trades are read.

`Ways` is Binance's, and what the words promise; a subclass is what another exchange needs instead. Everything raises what ccxt
raises; whoever calls makes VenueUnreadable of it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.contracts.codes import OrderType, TimeInForce
from holdfast.contracts.money import canonical
from holdfast.contracts.rows import OrderRow
from holdfast.domain.coins import OLDEST_MS
from holdfast.venues.capabilities import Capability
from holdfast.venues.ccxt_client import Clients
from holdfast.venues.port import VenueUnreadable

Row = Mapping[str, Any]
PAGE = 1_000
"""Most trades in one answer."""
MOST_PAGES = 50
ON_ITS_WAY_MS = 5_000
"""How much further ahead a time has to lie that the exchange shall keep: the order may arrive so late."""
SKEW_MS = 2_000
"""How far the two clocks may differ without hiding an order from a read that begins when it was reserved."""
_TIMES = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}


class Ways:
    """See the module. *theirs* is ccxt's symbol, *name* a client order id as `named` makes it."""

    names_in_answers = True
    """Whether the answer to a send says the client order id."""

    def __init__(self, capability: Capability, clients: Clients) -> None:
        self.capability, self.clients = capability, clients

    def named(self, order_id: str) -> str:
        """Our id in the form that the exchange takes."""
        return order_id

    def ours(self, name: str) -> str:
        """What `named` made it of; foreign names stay as they are."""
        return name

    def of_send(self, row: OrderRow) -> dict[str, Any]:
        """Parameters of a send that ccxt has no common word for."""
        return (
            {"timeInForce": "GTD", "goodTillDate": row.good_till}
            if self._keeps_till(row) and not row.post_only
            else {}
        )

    def _keeps_till(self, row: OrderRow) -> bool:
        """Whether the exchange itself may be given the time until which the order rests."""
        least, now = self.capability.keeps_till_ms, self.clients.read.milliseconds()
        rests = row.type is OrderType.LIMIT and row.time_in_force is TimeInForce.GTC
        return rests and None not in (least, row.good_till) and row.good_till > now + least + ON_ITS_WAY_MS

    async def cancel_after(self, theirs: str, ms: int) -> None:
        """From now on the exchange cancels the symbol's orders (*theirs* empty: all) after *ms*, unless it is told anew; 0 takes that back."""
        read = self.clients.read
        given = {"symbol": read.market_id(theirs), "countdownTime": ms}
        answer = await read.fapiPrivatePostCountdownCancelAll(given)
        if str(answer.get("countdownTime")) != str(ms):
            raise VenueUnreadable(f"the exchange does not say that it counts down {ms} ms")

    def parameters(self, row: OrderRow, *, hedged: bool) -> dict[str, Any]:
        """Everything of a send that is no argument of its own."""
        given: dict[str, Any] = {"clientOrderId": self.named(row.order_id), **self.of_send(row)}
        if row.reduce_only and self.capability.reduces and not hedged:
            given["reduceOnly"] = True
        if hedged:
            given["hedged"], given["reduceOnly"] = True, row.reduce_only
        if row.stop_price is not None:
            given["stopLossPrice"] = canonical(row.stop_price)
        if row.type is OrderType.LIMIT:
            if row.post_only:
                given["postOnly"] = True
            else:
                given.setdefault("timeInForce", _TIMES[row.time_in_force])
        return given

    def is_apart(self, row: OrderRow) -> bool:
        """Whether it is a stop, and stops live at endpoints of their own and become other orders."""
        return row.stop_price is not None and self.capability.algo_orders

    def has_triggered(self, found: Row) -> bool:
        """Whether a stop that is kept among the ordinary orders has met its price: then it works on the book, and says since when."""
        info = found.get("info") or {}
        if (since := info.get("workingTime")) is None:
            return info.get("isWorking") is True
        return str(since).isdecimal() and int(since) > 0

    async def find(self, theirs: str, name: str, since: int) -> Row | None:
        """By its name; where that shows nothing, among the open orders, and among all from *since*, ms. None: no read shows it."""
        read = self.clients.read
        try:
            found: Row = await read.fetch_order(None, theirs, {"clientOrderId": name})
        except self.clients.not_found:
            listed = _rows(await read.fetch_open_orders(theirs), "open orders")
            return latest([*listed, *_rows(await read.fetch_orders(theirs, since, PAGE), "orders")], name)
        if found.get("clientOrderId") != name:
            raise VenueUnreadable(f"the look-up of {name} shows another order")
        return found

    async def find_stop(self, theirs: str, name: str, since: int) -> Row | None:
        """The same of a conditional order, which lives at an endpoint of its own. One that has triggered is shown as the order that
        it has become, under its own name and number, with that order's number as `became`.
        """
        read, given = self.clients.read, {"trigger": True}
        try:
            found = await read.fetch_order(None, theirs, given | {"clientOrderId": name})
        except self.clients.not_found:
            listed = _rows(
                await read.fetch_open_orders(theirs, None, None, dict(given)), "conditional orders"
            )
            ended = _rows(await read.fetch_orders(theirs, since, PAGE, dict(given)), "conditional orders")
            found = latest([*listed, *ended], name)
            if found is None:
                return None
        if found.get("clientOrderId") != name:
            raise VenueUnreadable(f"the look-up of {name} shows another order")
        return await self._become(theirs, found)

    async def _become(self, theirs: str, found: Row) -> Row:
        number = became(found)
        if number is None:
            if found.get("status") == "closed":
                raise VenueUnreadable("a stop has triggered, and the order that it became is not shown yet")
            return found
        try:
            order: Row = await self.clients.read.fetch_order(number, theirs)
        except self.clients.not_found:
            raise VenueUnreadable(f"a stop has triggered, and its order {number} is not shown yet") from None
        own = {"clientOrderId": found["clientOrderId"], "id": found.get("id"), "became": number}
        return {**order, **own}

    async def stops(self, theirs: str, since: int | None) -> list[Row]:
        """Conditional orders from *since*, ms, ended ones included."""
        return _rows(
            await self.clients.read.fetch_orders(theirs, since, PAGE, {"trigger": True}), "conditional orders"
        )  # fmt: skip

    async def cancel(self, theirs: str, name: str, *, stop: bool, number: str | None) -> None:
        """By name; of a stop that has become the order *number*, that one. Raises ccxt's OrderNotFound where there is nothing to cancel."""
        leave = self.clients.leave
        if number is not None:
            await leave.cancel_order(number, theirs)
        else:
            given = {"clientOrderId": name} | ({"trigger": True} if stop else {})
            await leave.cancel_order(None, theirs, given)

    async def trades(self, theirs: Sequence[str], since: int, now: int) -> dict[str, list[Row]]:
        """Every trade of these symbols at or after *since*, by symbol; some perhaps twice, in any order."""
        return {one: await self._trades(one, since, now) for one in theirs}

    async def _trades(self, theirs: str, since: int, now: int) -> list[Row]:
        """Window after window, page after page."""
        window = self.capability.trades_window_ms
        start = max(since, now - OLDEST_MS)
        rows: list[Row] = []
        for _ in range(MOST_PAGES + OLDEST_MS // window):
            until = min(start + window - 1, now + SKEW_MS)
            page = _rows(
                await self.clients.read.fetch_my_trades(theirs, start, PAGE, {"until": until}), "trades"
            )
            rows += page
            if len(page) >= PAGE:
                start = max(int(row.get("timestamp") or 0) for row in page)
            elif until >= now:
                return rows
            else:
                start = until + 1
        raise VenueUnreadable(f"trades: more than {MOST_PAGES} pages of {theirs} since {since}")

    async def funding(self, since: int, now: int) -> list[Row]:
        """Every funding of the account at or after *since*, window after window; some perhaps twice."""
        window = self.capability.trades_window_ms
        start = max(since, now - OLDEST_MS)
        rows: list[Row] = []
        for _ in range(MOST_PAGES):
            until = min(start + window - 1, now + SKEW_MS)
            read = self.clients.read
            page = _rows(await read.fetch_funding_history(None, start, PAGE, {"until": until}), "funding")
            rows += page
            if len(page) >= PAGE:
                start = max(int(row.get("timestamp") or 0) for row in page)
            elif until >= now:
                return rows
            else:
                start = until + 1
        raise VenueUnreadable(f"funding: more than {MOST_PAGES} pages since {since}")

    async def rates(self, theirs: str, since: int) -> list[tuple[int, Any]]:
        """(time, funding rate) from *since*, ms."""
        start, found = since, []
        for _ in range(MOST_PAGES):
            page = _rows(
                await self.clients.read.fetch_funding_rate_history(theirs, start, PAGE), "funding rates"
            )
            found += [(int(row["timestamp"]), row["fundingRate"]) for row in page]
            if len(page) < PAGE:
                return found
            start = found[-1][0] + 1
        raise VenueUnreadable(f"funding rates: more than {MOST_PAGES} pages of {theirs} since {since}")

    async def trades_of(self, theirs: str, number: str) -> list[Row]:
        """Those of the order with the exchange's *number*."""
        return _rows(
            await self.clients.read.fetch_my_trades(theirs, None, PAGE, {"orderId": number}), "trades of an order"
        )  # fmt: skip

    async def day_prices(self, theirs: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """By symbol: the first price of this UTC day, and the last one. ccxt's common ticker counts the last 24 hours instead."""
        read = self.clients.read
        ids = {read.market_id(one): one for one in theirs}
        rows = _rows(
            await read.publicGetTickerTradingDay({"symbols": read.json(list(ids)), "timeZone": "0"}), "day"
        )
        return {
            ids[row["symbol"]]: (row["openPrice"], row["lastPrice"])
            for row in rows
            if row.get("symbol") in ids
        }


class KrakenWays(Ways):
    """Kraken: ids of its own form, look-ups in lists only, orders with a deadline, fifty trades of all pairs at once, the latest first.

    ccxt sends a client order id as `cl_ord_id` and looks one up as `userref`, which is something else; the lists of open and of
    ended orders take the right one.
    """

    names_in_answers = False
    _PAGE, _MOST_NAMED = 50, 19
    _OURS = re.compile(r"h[0-9a-f]{30}")
    _LETTER = f"{ord('h'):x}"

    def named(self, order_id: str) -> str:
        """A UUID without hyphens: our id is 31 characters long, and free text may have 18. Its letter becomes its code."""
        return self._LETTER + order_id[1:] if self._OURS.fullmatch(order_id) else order_id

    def ours(self, name: str) -> str:
        order_id = "h" + name.removeprefix(self._LETTER)
        return order_id if self._OURS.fullmatch(order_id) and self.named(order_id) == name else name

    def of_send(self, row: OrderRow) -> dict[str, Any]:
        """Its engine takes the order no more after this: what makes absence provable where there is no receive window."""
        given = {
            "deadline": self.clients.read.iso8601(row.send_by + (self.capability.receive_window_ms or 0))
        }
        if self._keeps_till(row):
            given |= {"timeInForce": "GTD", "expiretm": str((row.good_till or 0) // 1000)}
        return given

    async def cancel_after(self, theirs: str, ms: int) -> None:  # noqa: ARG002 - it knows all orders of the account only
        answer = await self.clients.read.cancel_all_orders_after(ms)
        if not isinstance(answer.get("result"), dict):
            raise VenueUnreadable("the exchange does not say that it counts down")

    def has_triggered(self, found: Row) -> bool:
        """It stays `open`, and only its flags tell."""
        return "stopped" in str((found.get("info") or {}).get("misc") or "").split(",")

    async def find(self, theirs: str, name: str, since: int) -> Row | None:  # noqa: ARG002 - both lists go by the name
        """Open orders first: what ends in between is then among the ended ones."""
        read, given = self.clients.read, {"clientOrderId": name}
        listed = _rows(await read.fetch_open_orders(theirs, None, None, dict(given)), "open orders")
        ended = _rows(await read.fetch_closed_orders(theirs, None, None, dict(given)), "ended orders")
        return latest([*ended, *listed], name)

    async def trades(self, theirs: Sequence[str], since: int, now: int) -> dict[str, list[Row]]:
        """One read for all pairs. Its times are whole seconds, and the first one is left out: it begins a second early."""
        start = max(since, now - OLDEST_MS)
        span = {"start": str(start // 1000 - 1), "end": str((now + SKEW_MS) // 1000 + 1)}
        found: dict[str, list[Row]] = {one: [] for one in theirs}
        for number in range(MOST_PAGES):
            given = span | {"ofs": str(number * self._PAGE)}
            page = _rows(await self.clients.read.fetch_my_trades(None, None, None, given), "trades")
            for row in page:
                if row.get("symbol") in found and int(row.get("timestamp") or 0) >= start:
                    found[row["symbol"]].append(row)
            if len(page) < self._PAGE:
                return found
        raise VenueUnreadable(f"trades: more than {MOST_PAGES} pages since {since}")

    async def trades_of(self, theirs: str, number: str) -> list[Row]:
        """The order names its trades. Twenty may be asked for at once; ccxt then asks for none besides, which is refused."""
        read = self.clients.read
        order = await read.fetch_order(number, theirs)
        names = [one["id"] for one in _rows(order.get("trades"), "trades of an order")]
        found: list[Row] = []
        for start in range(0, len(names), self._MOST_NAMED):
            given = {"trades": names[start : start + self._MOST_NAMED]}
            found += _rows(await read.fetch_order_trades(number, theirs, None, None, given), "trades")
        return found

    async def day_prices(self, theirs: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Its ticker's opening price is today's, UTC."""
        found = await self.clients.read.fetch_tickers(list(theirs))
        return {one: (row["open"], row["last"]) for one, row in found.items()}


def became(stop: Row) -> str | None:
    """The number of the ordinary order that a conditional one has become; None where it has not triggered."""
    number = str((stop.get("info") or {}).get("actualOrderId") or "")
    return number if number.strip("0") else None


def latest(rows: Sequence[Row], name: str) -> Row | None:
    """The last of *rows* that has the client order id *name*."""
    return next((row for row in reversed(rows) if row.get("clientOrderId") == name), None)


def _rows(answer: Any, what: str) -> list[Row]:
    if not isinstance(answer, list):
        raise VenueUnreadable(f"{what}: not a list")
    return answer


def ways_of(capability: Capability, clients: Clients) -> Ways:
    """Those of the capability's exchange."""
    return (KrakenWays if capability.exchange == "kraken" else Ways)(capability, clients)
