"""What an exchange says of an account as a whole: clock, permissions, position mode, leverage, and the day's result.

Where ccxt has no common word for it (permissions, what a trade realised) the exchange's own is used, by exchange.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import Kind, Leg
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO
from holdfast.venues.capabilities import Switch
from holdfast.venues.ccxt_reads import Reads
from holdfast.venues.ccxt_rows import amount, funding_of, unique
from holdfast.venues.port import VenueUnreadable

DAY_MS = 24 * 3600 * 1000
RATE_SLACK_MS = 60_000
"""How far a rate's time and that of what was paid may differ."""
_BINANCE = frozenset({"binance", "binanceusdm"})


class AccountReads(Reads):
    """See the module. Everything raises VenueUnreadable where the exchange gives no usable answer."""

    hedged = False
    """Whether the account is in hedge mode."""

    async def server_time(self) -> int:
        """The exchange's clock, ms."""
        found = await self._asked(self.clients.read.fetch_time(), "time")
        if not isinstance(found, int):
            raise VenueUnreadable(f"time: {found!r}")
        return found

    async def can_withdraw(self) -> bool | None:
        """Whether the key may withdraw; None where the exchange does not say."""
        if self.exchange == "kraken":
            return await self._may_withdraw_at_kraken()
        if self.exchange not in _BINANCE:
            return None
        found = await self._asked(self.clients.read.sapiGetAccountApiRestrictions(), "permissions")
        may = found.get("enableWithdrawals")
        if not isinstance(may, bool):
            raise VenueUnreadable("permissions: the exchange does not say whether the key may withdraw")
        return may

    async def _may_withdraw_at_kraken(self) -> bool:
        found = await self._asked(self.clients.read.privatePostGetApiKeyInfo(), "permissions")
        result = found.get("result")
        may = result.get("permissions") if isinstance(result, dict) else None
        if not isinstance(may, list):
            raise VenueUnreadable("permissions: the exchange does not say what the key may do")
        return "withdraw-funds" in may

    async def is_hedged(self) -> bool | None:
        """The position mode; None where there is none."""
        if self.capability.kind is Kind.SPOT or not self.clients.read.has.get("fetchPositionMode"):
            return None
        found = await self._asked(self.clients.read.fetch_position_mode(), "position mode")
        hedged = found.get("hedged")
        if not isinstance(hedged, bool):
            raise VenueUnreadable(f"position mode: {hedged!r}")
        return hedged

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        await self._asked(self.clients.trade.set_leverage(leverage, self._there(symbol)), "leverage")

    @property
    def switch(self) -> Switch:
        """Its dead man's switch."""
        return self.capability.switch

    async def cancel_after(self, symbol: str, ms: int) -> None:
        """From now on it cancels what rests there of *symbol* (empty: of all) after *ms*, by its own clock, unless told anew; 0 takes it back."""
        theirs = self._there(symbol) if symbol else ""
        await self._asked(self._ways.cancel_after(theirs, ms), "dead man's switch")

    async def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Currency -> (free, total)."""
        found = await self._asked(self.clients.read.fetch_balance(), "balances")
        free, total = found.get("free"), found.get("total")
        if not isinstance(free, dict) or not isinstance(total, dict):
            raise VenueUnreadable("balances: the answer has none")
        return {
            name: (amount(free.get(name) or 0, "free"), amount(whole or 0, "total"))
            for name, whole in total.items()
        }

    async def wallet(self, currency: str) -> Decimal:
        """What the account has of *currency*, without what open positions have won or lost."""
        if self.exchange != "binanceusdm":
            return (await self.balances()).get(currency, (ZERO, ZERO))[1]
        found = await self._asked(self.clients.read.fetch_balance(), "wallet")
        rows = (found.get("info") or {}).get("assets")
        if not isinstance(rows, list):
            raise VenueUnreadable("wallet: the answer names no assets")
        mine = [row for row in rows if row.get("asset") == currency]  # ccxt's total counts open positions in
        return amount(mine[0].get("walletBalance"), "wallet") if mine else ZERO

    async def day_result(self, held: Mapping[str, Decimal]) -> Decimal:  # noqa: ARG002 - on futures the exchange says it all
        """What this UTC day has brought so far, what is open included, in settlement currency. *held*: our positions, by symbol.

        Futures: realised since midnight less fees and funding, plus what is open at the mark; whoever traded. Spot: see `CcxtVenue.day_result`.
        """
        midnight = self._clock.wall_ms() // DAY_MS * DAY_MS
        if self.exchange != "binanceusdm":
            raise VenueUnreadable(
                f"{self.exchange} does not say what a trade realised, so no daily loss can be kept"
            )
        total = ZERO
        for rows in (await self._trade_rows(self.traded_symbols(), midnight)).values():
            for row in rows:
                total += amount(_of(row, "realizedPnl"), "realised") - amount(
                    (row.get("fee") or {}).get("cost") or 0, "fee"
                )
        for row in unique(await self._asked(self._ways.funding(midnight, self._clock.wall_ms()), "funding")):
            total += amount(row.get("amount"), "funding")
        for row in await self._listed(self.clients.read.fetch_positions(), "positions"):
            total += amount(row.get("unrealizedPnl") or 0, "unrealised")
        return total

    async def funding_since(self, at: int) -> list[Fill]:
        """Of symbols that the account trades, oldest first. An exchange says it of a symbol, not of a side; in hedge mode the rate of that
        time does: above zero who is long pays. Where it gives one sum for both sides, that is the larger one's.
        """
        if not self.pays_funding:
            return []
        ours = {theirs: symbol for symbol, theirs in self._theirs.items()}
        rows = unique(await self._asked(self._ways.funding(at, self._clock.wall_ms()), "funding"))
        traded = set(self.traded_symbols())
        told = [(row, symbol) for row in rows if (symbol := ours.get(str(row.get("symbol")))) in traded]
        legs = await self._legs(told) if self.hedged else {}
        return [
            funding_of(
                row, self._rules[symbol], self.account, self.exchange, legs.get(str(row["id"]), Leg.NET)
            )
            for row, symbol in told
        ]

    async def _legs(self, told: Sequence[tuple[Mapping[str, Any], str]]) -> dict[str, Leg]:
        """On which side each funding was, by its id. Raises VenueUnreadable where the rate of its time is not known."""
        legs: dict[str, Leg] = {}
        for symbol in dict.fromkeys(symbol for _, symbol in told):
            mine = [row for row, of in told if of == symbol]
            since = min(int(row["timestamp"]) for row in mine) - RATE_SLACK_MS
            rates = await self._asked(self._ways.rates(self._there(symbol), since), "funding rates")
            for row in mine:
                at = int(row["timestamp"])
                near = [rate for when, rate in rates if abs(when - at) <= RATE_SLACK_MS]
                if not near:
                    raise VenueUnreadable(f"funding rates: none of {symbol} at {at}")
                pays = amount(row.get("amount"), "funding") < 0
                legs[str(row["id"])] = Leg.LONG if pays == (amount(near[0], "a rate") > 0) else Leg.SHORT
        return legs


def _of(row: Any, name: str) -> Any:
    """A field of the exchange's own row."""
    found = (row.get("info") or {}).get(name)
    if found is None:
        raise VenueUnreadable(f"a trade without {name}")
    return found
