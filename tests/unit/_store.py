"""A store with a real journal: the ledger's own handlers, fed with reservations and fills, and no bus."""

import itertools
from decimal import Decimal
from pathlib import Path

from holdfast.contracts.codes import ExitReason, FillKind, Kind, OrderType, Role, Side, StatusKind
from holdfast.contracts.exit_messages import ExitThresholds
from holdfast.contracts.messages import Control, Fill, OrderRequest, OrderReserve, OrderStatus, Trade
from holdfast.contracts.outcomes import PathPoint, SeenPrediction, TradeOutcome
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import FILL
from holdfast.contracts.wire import Entry, digest
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.limits import Limits
from holdfast.domain.reservation import Rules
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.ids import SystemIds
from holdfast.runtime.learner_settings import LearnerSettings, learning_rules
from holdfast.runtime.limit_settings import LimitSettings
from holdfast.store.opening import open_store, sqlite_path
from services.ledger.service import Ledger

RULES = Rules(
    limits=Limits.of(LimitSettings()),
    policy=ExitPolicy(Decimal(10), Decimal(20)),
    learning=learning_rules(LearnerSettings()),
)
NOW = 1_700_000_000_000


class Books:
    """A ledger and the executor's side of the conversation with it."""

    def __init__(self, directory: Path, url: str = "", first: int = 1) -> None:
        """*first*: of its orders and fills; a store that has some goes on above them."""
        self.clock, self.directory, self.url = SystemClock(), directory, url
        self.store = open_store(
            url=url, directory=directory, who="test", ids=SystemIds(self.clock), check=False
        )
        self.ledger = Ledger(
            self.store, RULES, clock=self.clock, snapshot_every_updates=10_000, snapshot_every_ms=60_000
        )
        self._number = itertools.count(first)

    @property
    def path(self) -> Path:
        return sqlite_path(self.directory)

    def close(self) -> None:
        self.ledger.close()

    async def tell(self, *messages):
        await self.ledger.on_work([Entry(FILL, "1-0", b"", message) for message in messages])

    async def order(self, symbol, side, quantity, *, reason=None, trigger=None, kind=Kind.LINEAR, **more):
        """Reserve an order; its id."""
        number = next(self._number)
        request = OrderRequest(
            order_id=f"o-{number}", kind=kind, settle=symbol.partition("/")[0 if kind is Kind.INVERSE else 2], role=Role.EXIT if reason else Role.ENTRY,
            side=Side(side), type=OrderType.MARKET, quantity=quantity, quantity_step=Decimal("0.0001"), reference_price=Decimal(100),
            reason=reason, trigger_price=trigger, send_by=NOW + 2_000, **more,
        )  # fmt: skip
        await self.tell(
            OrderReserve(
                id=f"r-{number}", at=NOW, intent_id=f"i-{number}", intent_digest=digest(f"i-{number}"), account="main", exchange="paper",
                symbol=symbol, incarnation="x", epoch=1, order=request, strategy="s",
            )
        )  # fmt: skip
        return request.order_id

    async def fill(self, order_id, symbol, side, quantity, price, *, fee="0.01", **more):
        number = next(self._number)
        await self.tell(
            Fill(
                id=f"f-{number}", at=NOW, account="main", exchange="paper", symbol=symbol, order_id=order_id, trade_id=f"t-{number}",
                side=Side(side), quantity=quantity, price=price, executed_at=NOW + number, **({"fee": fee} | more),
            )
        )  # fmt: skip

    async def trade(self, symbol, side, quantity, price, **more):
        """An order and the one fill that ends it."""
        keys = {"reason", "trigger", "kind"}
        order_id = await self.order(symbol, side, quantity, **{k: v for k, v in more.items() if k in keys})
        await self.fill(
            order_id, symbol, side, quantity, price, **{k: v for k, v in more.items() if k not in keys}
        )

    async def story(self) -> None:
        """Closed trades for several reasons, open positions, a live order, an inverse contract, quarantine, control, adoption,
        learned thresholds, and the outcome of a trade.
        """
        btc, eth, coin = "BTC/USDT", "ETH/USDT", "BTC/USD"
        await self.trade(btc, "buy", "3", "100")
        await self.trade(btc, "buy", "1", "101.7")
        await self.trade(btc, "sell", "1.3", "103", reason=ExitReason.CLOSE)
        await self.trade(btc, "sell", "2.7", "89", reason=ExitReason.STOP_LOSS, trigger="90.2")
        await self.trade(eth, "sell", "10", "100")
        await self.trade(eth, "buy", "10", "79", reason=ExitReason.TAKE_PROFIT, trigger="80")
        await self.trade(eth, "sell", "7", "33.333333", fee="0.001", fee_currency="BNB")
        await self.trade(coin, "buy", "700", "31000.7", kind=Kind.INVERSE, fee="0.0000012")
        await self.trade(coin, "sell", "300", "31500", kind=Kind.INVERSE, reason=ExitReason.CLOSE)
        resting = await self.order(eth, "sell", "1")
        await self.tell(
            OrderStatus(
                id="s-1",
                at=NOW,
                order_id=resting,
                account="main",
                exchange="paper",
                status=StatusKind.ACCEPTED,
            )
        )
        await self.fill("not-ours", "SOL/USDT", "buy", "1", "5")
        await self.fill("", "XRP/USDT", "sell", "5", "2", kind=FillKind.ADOPTION, instrument=Kind.LINEAR)
        await self.fill("", eth, "sell", "0", "0", kind=FillKind.FUNDING, fee="0.25")
        await self.tell(Control(id="c-1", at=NOW, state="reduce_only", by="test", why="lunch"))
        await self.tell(proposal(1, stop_loss_pct="9.5"), outcome_of(self.trades()[-1]))

    def trades(self) -> list[Trade]:
        """Closed positions, oldest first."""
        rows = self.store.query("SELECT body FROM trades ORDER BY seq")
        return [Trade.model_validate_json(body) for (body,) in rows]


def proposal(version: int, **values) -> ExitThresholds:
    """What the learner would have, on the policy itself."""
    return ExitThresholds(
        id=f"x-{version}", at=NOW, version=version, values=values, evidence={"trades": "120"}, by="learner"
    )


def outcome_of(trade: Trade, **given) -> TradeOutcome:
    """What became of *trade*: two prices, and some predictions."""
    row = PositionRow(
        position_id=trade.position_id, book_id=f"{trade.account}/{trade.exchange}/{trade.symbol}", account=trade.account,
        exchange=trade.exchange, symbol=trade.symbol, side=trade.side, kind=trade.kind, contract_size=trade.contract_size, settle=trade.settle,
        quantity=trade.quantity, cost=trade.quantity * trade.entry_price, entry_price=trade.entry_price, take_profit=trade.take_profit,
        stop_loss=trade.stop_loss, take_profit_spec="20%", stop_loss_spec="10%", opened_at=trade.opened_at, changed_at=trade.opened_at,
        recorded_at=NOW,
    )  # fmt: skip
    points = [
        PathPoint(at=trade.opened_at + ms, first=price, low=price, high=price, last=price)
        for ms, price in ((0, trade.entry_price), (500, trade.exit_price))
    ]
    said = SeenPrediction(
        at=trade.opened_at, expires_at=trade.closed_at, model="m", direction="long", confidence="0.8"
    )
    values = {
        "id": f"o-{trade.position_id}", "at": NOW, "position_id": trade.position_id, "row": row, "closed_at": trade.closed_at,
        "exit_reason": trade.exit_reason, "exit_price": trade.exit_price, "realized_pnl": trade.realized_pnl, "path": points,
        "through": trade.closed_at + 1000, "predictions": [said],
    }  # fmt: skip
    return TradeOutcome(**(values | given))
