"""One example of every message that travels, each field filled: what stands in `golden/` byte for byte.

A change of these files is a change of the wire: producers in other languages, recorded streams and journals feel it.
After a change that is meant, `python -m tests.contract._golden` writes them anew; the diff is what is to be reviewed.
"""

from decimal import Decimal
from pathlib import Path

from holdfast.contracts import alarms
from holdfast.contracts import exit_messages as x
from holdfast.contracts import leases as l
from holdfast.contracts import messages as m
from holdfast.contracts import outcomes as o
from holdfast.contracts import portfolio as p
from holdfast.contracts import rows as r
from holdfast.contracts.base import Message
from holdfast.contracts.codes import (
    Action,
    AlertEvent,
    AlertState,
    Code,
    ExitReason,
    FillKind,
    Kind,
    LearnMode,
    Leg,
    OrderState,
    OrderType,
    PositionSide,
    ResultStatus,
    Role,
    Scope,
    Side,
    StatusKind,
    StopBy,
    TimeInForce,
    TradingState,
    UpdateKind,
)

D = Decimal
FOLDER = Path(__file__).parent / "golden"
T0 = 1_700_000_000_000
ABOUT = {"id": "m-1", "cause_id": "m-0", "correlation_id": "i-1", "at": T0}
BOOK = {"account": "main", "exchange": "paper", "symbol": "BTC/USDT", "leg": Leg.LONG}
BOOK_ID = "main/paper/BTC/USDT#long"

POSITION = r.PositionRow(
    position_id="p-1", book_id=BOOK_ID, **BOOK, side=PositionSide.LONG, kind=Kind.LINEAR, contract_size=D("0.001"), settle="USDT",
    quantity=D("1.5"), cost=D("64500.75"), entry_price=D("43000.5"), take_profit=D(45000), stop_loss=D("41000.25"), take_profit_spec="5%",
    stop_loss_spec="41000.25", expires_at=T0 + 9, opened_at=T0 + 1, changed_at=T0 + 2, recorded_at=T0 + 3, realized_pnl=D("-0.5"),
    fees={"BNB": D("0.01")}, bought=D(2), sold=D("0.5"), entry_value=D(86001), exit_value=D(21500), version=3, seeded=["take_profit: missing"],
    terms="emergency_loss_pct=20 trailing.distance_pct=2", laddered=D("0.5"), stop_by=StopBy.TRAILING, trail_active=True,
    high_water=D(44000), high_water_at=T0 + 4, atr=D("12.5"), signal_at=T0 + 5, trigger_level=D("41000.25"), closing=ExitReason.FLATTEN, exit_attempts=1, protects=2, trigger_price=D(41000), trigger_at=T0 + 4, exit_reason=ExitReason.STOP_LOSS, strategy="trend",
    correlation_id="i-1", intent_id="i-1",
)  # fmt: skip
ORDER = r.OrderRow(
    order_id="o-1", intent_id="i-1", book_id=BOOK_ID, **BOOK, kind=Kind.LINEAR, contract_size=D("0.001"), settle="USDT", role=Role.EXIT,
    side=Side.SELL, type=OrderType.LIMIT, price=D(45000), quantity=D("1.5"), filled=D("0.5"), filled_value=D(22500), state=OrderState.PARTIAL,
    reduce_only=True, time_in_force=TimeInForce.IOC, post_only=True, good_till=T0 + 5, notional=D(67500), take_profit_spec="5%",
    stop_loss_spec="3.5%", ttl_s=D(600), position_id="p-1", reason=ExitReason.TAKE_PROFIT, attempt=2, trigger_price=D(45000), trigger_at=T0 + 4,
    exits={"min_hold_s": "off"}, trigger_level=D(44999), thresholds="v3.ab", sizing="nav_pct: 5 %", stop_price=D(41000), replaces="i-0", replaced_by="i-2", filled_before=D("0.25"), displaced=True, code=Code.DISPLACED, evidence="cancel asked", venue_order_id="v-9", claimed=D(1), incarnation="x-1", epoch=4, send_by=T0 + 6,
    strategy="trend", correlation_id="i-1", reserved_at=T0 + 3, changed_at=T0 + 4,
)  # fmt: skip
BOOK_ROW = r.BookRow(
    book_id=BOOK_ID, **BOOK, side=PositionSide.LONG, exiting=ExitReason.CLOSE, disputed="a fill came twice", refused_exit="held by o-9",
    lost_at=T0 + 8,
)  # fmt: skip
INTENT_ROW = r.IntentRow(
    intent_id="i-1", digest="a1b2", status=ResultStatus.PARTLY_FILLED, code=Code.UNFILLED, reason="ioc", order_id="o-1",
    filled_quantity=D("0.5"), average_price=D(45000), account="main", symbol="BTC/USDT", at=T0, correlation_id="i-1",
)  # fmt: skip
CONTROL_ROW = r.ControlRow(
    scope=Scope.BOOK, target=BOOK_ID, state=TradingState.REDUCE_ONLY, by="ann", why="news", at=T0
)
TOTAL = r.TotalRow(
    account="main", exchange="paper", symbol="BTC/USDT", settle="USDT", realized_pnl=D("-12.5"), fees={"BNB": D("0.01")}, trades=7, wins=3,
    fills=20, last_executed_at=T0,
)  # fmt: skip
QUARANTINE = r.QuarantineRow(
    quarantine_id="q-1", account="main", exchange="paper", symbol="BTC/USDT", side=PositionSide.SHORT, quantity=D("0.1"), price=D(43000),
    why="not opened by Holdfast", resolved=True, at=T0, fee=D("0.1"), fee_currency="BNB", executed_at=T0 + 1, leg=Leg.SHORT, instrument=Kind.LINEAR,
    contract_size=D("0.001"), settle="USDT",
)  # fmt: skip
NAV = r.NavRow(
    account="main",
    currency="USDT",
    cash=D("99990.5"),
    nav=D(100000),
    high_water=D(100100),
    at=T0,
    began=D(100000),
)
RISK = p.RiskRow(
    account="main", high_water=D(100100), drawdown_since=T0 + 5, day=19675, day_nav=D("100050.5"), daily_loss_since=T0 + 6, losses=3, lost_at=T0 + 7,
    slot=5666666, slot_nav=D(99990), variance=D("0.0000015"),
)  # fmt: skip

FILL = m.Fill(
    **ABOUT, **BOOK, order_id="o-1", trade_id="t-1", kind=FillKind.ADOPTION, side=Side.BUY, quantity=D("1.5"), price=D("43000.5"), fee=D("-0.02"),
    fee_currency="BNB", executed_at=T0 + 1, instrument=Kind.INVERSE, contract_size=D(100), settle="BTC", take_profit="45000", stop_loss="3.5%",
    ttl_s=D(600),
)  # fmt: skip
BLOCKED = m.OrderBlocked(
    **ABOUT, intent_id="i-2", code=Code.OPPOSED, reason="the book holds long", account="main", exchange="paper", symbol="BTC/USDT",
    attempted_side=Side.SELL, attempted_quantity=D(2), held_side=PositionSide.LONG, held_quantity=D("1.5"), in_the_way=["o-1"], strategy="trend",
)  # fmt: skip
TRADE = m.Trade(
    **ABOUT, **BOOK, position_id="p-0", side=PositionSide.LONG, kind=Kind.LINEAR, contract_size=D("0.001"), settle="USDT", quantity=D(2),
    entry_price=D(43000), exit_price=D(41000), opened_at=T0, closed_at=T0 + 7, realized_pnl=D("-4.1"), fees={"BNB": D("0.01")},
    exit_reason=ExitReason.STOP_LOSS, trigger_price=D(41000), trigger_at=T0 + 6, trigger_level=D(41010), take_profit=D(45000), stop_loss=D(41000), exit_attempts=2,
    strategy="trend", intent_id="i-0", highest_price=D(44000), lowest_price=D(41000), path=[(T0, D(43000)), (T0 + 7, D(41000))],
    thresholds={"stop_loss_pct": "10"},
)  # fmt: skip
LEARNING = r.LearningRow(mode=LearnMode.APPLY, frozen=True, version=5, by="ann", why="holidays", at=T0)
VERSION = r.ThresholdsRow(
    version=5, values={"stop_loss_pct": D("9.5")}, based_on=4, restores=3, adopted=True, evidence={"trades": "2000"}, by="learner",
    why="better by 0.1 %", at=T0,
)  # fmt: skip
OUTCOME = o.TradeOutcome(
    **ABOUT, position_id="p-1", row=POSITION, closed_at=T0 + 9, exit_reason=ExitReason.STOP_LOSS, exit_price=D(41000), trigger_level=D(41010),
    realized_pnl=D("-4.1"), named=["stop_loss_pct"], signal_at=T0 + 5,
    path=[o.PathPoint(at=T0 + 2, first=D(43000), low=D(42000), high=D(44000), last=D(43500))], through=T0 + 90,
    predictions=[o.SeenPrediction(at=T0 + 3, expires_at=T0 + 8, model="lstm", direction="short", confidence=D("0.75"))],
    at_entry=o.MarketConditions(atr=D("12.5"), spread_pct=D("0.01"), volatility_pct=D("0.2")), at_exit=o.MarketConditions(atr=D(13)),
    hole_ms=1500,
)  # fmt: skip
ROWS = {
    "positions": [POSITION], "orders": [ORDER], "books": [BOOK_ROW], "control": [CONTROL_ROW], "totals": [TOTAL], "quarantine": [QUARANTINE],
    "nav": [NAV], "learning": [LEARNING], "thresholds": [VERSION], "risk": [RISK], "executors": {"main": 4},
}  # fmt: skip

EXAMPLES: tuple[Message, ...] = (
    m.OrderIntent(
        **ABOUT, action=Action.OPEN, symbol="BTC/USDT", side=Side.SELL, quantity=D("0.01"), type=OrderType.LIMIT, price=D(43000),
        time_in_force=TimeInForce.GTC, post_only=True, good_till=T0 + 5, take_profit="5%:0.5,10%:0.5", stop_loss="44000.5", ttl_s=D(600), reduce_only=True,
        exits={"roi": "0:5,60:2", "trailing.distance_pct": "2"}, trigger_level=D(43001), thresholds="v3.ab",
        soft=True, strategy="trend", account="second", exchange="binance", expires_at=T0 + 60_000, order_id="o-1", position_id="p-1",
        position_version=3, reason=ExitReason.TAKE_PROFIT, attempt=2, trigger_price=D(43000), trigger_at=T0 + 4,
    ),
    m.OrderReserve(
        **ABOUT, **BOOK, intent_id="i-1", intent_digest="a1b2", strategy="trend", incarnation="x-1", epoch=4, attempted_side=Side.BUY,
        attempted_quantity=D("0.01"),
        order=m.OrderRequest(
            order_id="o-1", kind=Kind.LINEAR, contract_size=D("0.001"), settle="USDT", role=Role.EXIT, side=Side.SELL, type=OrderType.LIMIT,
            price=D(43000), quantity=D("0.01"), fraction=D("0.5"), sizing="nav_pct: 5 %", quantity_step=D("0.001"), min_quantity=D("0.002"), replaces="i-0", time_in_force=TimeInForce.FOK, post_only=True, good_till=T0 + 5,
            reference_price=D(42990), exits={"trigger": "last"}, trigger_level=D(43001), thresholds="v3.ab", take_profit="5%", stop_loss="41000", ttl_s=D(600), position_id="p-1", position_version=3,
            reason=ExitReason.TTL, soft=True, attempt=2, trigger_price=D(43000), trigger_at=T0 + 4, stop_price=D(41000), send_by=T0 + 2000,
        ),
    ),
    BLOCKED,
    m.IntentResult(
        **ABOUT, intent_id="i-1", status=ResultStatus.PARTLY_FILLED, code=Code.UNFILLED, reason="ioc", order_id="o-1", filled_quantity=D("0.5"),
        average_price=D(45000), account="main", symbol="BTC/USDT", repeated=True,
    ),
    m.OrderStatus(
        **ABOUT, order_id="o-1", account="main", exchange="paper", status=StatusKind.CANCELED, code=Code.ON_REQUEST, reason="asked",
        venue_order_id="v-9", filled_quantity=D("0.5"), evidence="seen in open orders",
    ),
    FILL,
    m.LedgerUpdated(
        **ABOUT, seq=42, store_id="s-1", epoch=2, kind=UpdateKind.FILLED, why="example", **ROWS, intents=[INTENT_ROW], fills=[FILL],
        trades=[TRADE], blocked=[BLOCKED],
    ),
    m.LedgerSnapshot(
        **ABOUT, snapshot_id="s-1:42:7", seq=42, chain="0f" * 16, store_id="s-1", epoch=2, part=1, parts=2, checksum="ab" * 16, **ROWS
    ),
    TRADE,
    m.SnapshotRequest(**ABOUT, by="executor", why="no usable snapshot", of="outcomes", skip=10),
    l.ExecutorClaim(**ABOUT, incarnation="life-2", epochs={"main": 3, "second": 1}),
    p.NavMark(**ABOUT, currency="USDT", navs={"main": D("99990.5")}, missing={"second": "no price of ETH/USDT yet"}, began={"third": D("1000.5")}),
    x.ExitAdjust(
        **ABOUT, position_id="p-1", position_version=3, take_profit="45000", stop_loss="3.5%", ttl_s=D(600), insist=True, by="ann", why="trail",
        stop_by=StopBy.TRAILING, trail_active=True, high_water=D(44000), high_water_at=T0 + 4, atr=D("12.5"), terms="min_hold_s=60",
    ),
    m.Tick(**ABOUT, symbol="BTC/USDT", bid=D("42999.5"), ask=D(43000), last=D("42999.75"), mark=D("42999.8"), feed="replay", run="r-1", live=True),
    x.ExitEvaluated(
        **ABOUT, position_id="p-1", position_version=3, account="main", exchange="paper", symbol="BTC/USDT", side=PositionSide.LONG,
        price=D(43500), market_at=T0 + 3, atr=D("12.5"), thresholds="v3.ab", fires=ExitReason.ROI, held_rule="roi", held_by="min_hold",
        held_why="9 ms of market time are left", held_until=T0 + 12, next_up="take_profit", next_down="stop_loss", next_in_time="ttl",
        rules=[x.RuleVerdict(
            rule="stop_loss", fires=False, hard=True, text="bid 43500 is not <= 41000", at_price=D(41000), distance_pct=D("-5.7"),
            distance_atr=D(-200), profit_there=D(-2500), due_at=T0 + 12,
        )],
        vetoes=[x.RuleVerdict(rule="min_hold", fires=True, hard=False, text="9 ms of market time are left")],
    ),
    x.Prediction(**ABOUT, symbol="BTC/USDT", direction="short", confidence=D("0.75"), model="lstm", expires_at=T0 + 60_000),
    x.ExitThresholds(
        **ABOUT, version=5, values={"stop_loss_pct": D("9.5")}, based_on=4, evidence={"trades": "2000"}, by="learner", why="better by 0.1 %"
    ),
    OUTCOME,
    o.KeptOutcome(**ABOUT, number=3, last=10, of=12, outcome=OUTCOME),
    m.Control(**ABOUT, state=TradingState.HALTED, scope=Scope.ACCOUNT, target="main", by="ann", why="news"),
    m.Heartbeat(
        **ABOUT, service="exit_scanner", instance="0", incarnation="x-1", started_at=T0, seq=42, lag=1, pending=2, oldest_pending_ms=3,
        dead_letters=4, armed=5, armed_through=42, unarmed=["p-1"], unreadable="a reason", warnings=["late"], details={"positions": "6"},
        version="0.1.0",
    ),
    alarms.Alert(
        **ABOUT, key="service_down:executor", event=AlertEvent.SERVICE_DOWN, critical=True, state=AlertState.ESCALATED, text="executor is down",
        opened_at=T0, times=3, by="ann", silent=True, undelivered=["json://localhost: refused"],
    ),
    alarms.AlertAck(**ABOUT, key="service_down:executor", by="ann"),
    m.DeadLetter(
        **ABOUT, service="ledger", stream="fill", entry_id="1700000000000-0", payload='{"é": 1}', truncated=True, error="quantity: not a number",
        deliveries=5,
    ),
)  # fmt: skip
BY_NAME = {type(message).__name__: message for message in EXAMPLES}


def file_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, message in BY_NAME.items():
        file_of(name).write_bytes(message.body() + b"\n")


if __name__ == "__main__":
    write()
