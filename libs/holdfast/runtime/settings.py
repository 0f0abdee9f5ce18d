"""Every setting, with its unit and its default. `holdfast.toml` has one section per class here; `HOLDFAST_<SECTION>_<KEY>`
in the environment or `.env` goes over it. Loading, provenance and error texts live in `runtime.configuration`.

Defaults never bite a demonstration, and never trade real money: the only exchange known here is `paper`.
"""

from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from holdfast.contracts.codes import Kind
from holdfast.contracts.money import Amount, NotNegative, Positive
from holdfast.contracts.rows import ExitLevel
from holdfast.contracts.streams import PRODUCER, RESERVED, Stream, with_producers
from holdfast.domain.instruments import canonical
from holdfast.runtime.alert_settings import AlertSettings
from holdfast.runtime.executor_settings import ExecutorSettings, check_shares, served
from holdfast.runtime.exit_settings import ExitSettings, policy_table
from holdfast.runtime.hook_settings import HookDoorSettings, HookSettings
from holdfast.runtime.learner_settings import LearnerSettings
from holdfast.runtime.limit_settings import LimitSettings
from holdfast.runtime.live_settings import AccountSettings, check_live
from holdfast.runtime.section import Percent, Section


class BusSettings(Section):
    url: str = Field(
        "",
        description="Redis or Valkey (>= 7.0) to use. Empty: `holdfast up` starts one of its own under --dir.",
    )
    prefix: str = Field("", pattern=r"^[A-Za-z0-9{}:_.-]*$", description="Put before every stream name.")
    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Loopback TCP port of the bus that `holdfast up` starts; 0 picks a free one.",
    )
    batch: int = Field(500, ge=1, le=5000, description="Most entries read at once from a work stream.")
    block_ms: int = Field(1000, ge=10, le=4000, description="How long one read waits for an entry, in ms.")
    claim_idle_ms: int = Field(
        30_000,
        ge=1000,
        description="Entries that another consumer left pending for this long are claimed, in ms.",
    )
    max_deliveries: int = Field(
        5, ge=1, le=100, description="An entry that failed alone this often goes to dead.letter."
    )
    store_patience_s: float = Field(
        60.0,
        ge=1,
        description="How long a full or busy store or bus is waited for before the service stops, in s.",
    )
    maxmemory_mb: int = Field(512, ge=32, description="Memory of the bus that `holdfast up` starts, in MB.")
    require_signed: bool = Field(
        False,
        description="Only signed intents are acted upon. Off for the demonstration on loopback; on in Compose.",
    )
    acl: bool = Field(
        False,
        description="The bus has users, one per service: connect as oneself, with the password under `keys`. `holdfast up` then sets them up.",
    )
    tls_ca: str = Field(
        "", description="Certificates that a rediss:// bus is checked against; empty: the system's."
    )
    tls_cert: str = Field("", description="Certificate of this client, for a bus that asks for one.")
    tls_key: str = Field("", description="Its private key.")
    user: str = Field(
        "", description="User on a bus whose users are not Holdfast's own; see `holdfast acl` otherwise."
    )
    password: SecretStr = Field(
        SecretStr(""),
        description="That user's password. Better as HOLDFAST_BUS_PASSWORD_FILE, a file of mode 0600.",
    )
    keys: str = Field("", description="Folder of producers' keys and users' passwords; empty: DIR/keys.")
    full_pct: int = Field(
        70,
        ge=10,
        le=100,
        description="Share of the bus's memory from which entries are refused, in percent; exits pass.",
    )


class LedgerSettings(Section):
    url: str = Field("", description="Store: empty for SQLite under --dir, or a postgresql:// address.")
    snapshot_every_s: float = Field(
        30.0, ge=0.1, description="Longest time between snapshots while the ledger changes, in s."
    )
    snapshot_every_updates: int = Field(20_000, ge=10, description="Most updates between snapshots.")
    batch: int = Field(400, ge=1, le=5000, description="Most messages in one commit.")
    capital: Positive = Field(
        Decimal(100_000), description="Starting money of each account, in base_currency, for NAV."
    )
    base_currency: str = Field("USDT", description="Currency NAV is counted in.")
    verify_on_start: bool = Field(
        True, description="Check the store's integrity and the end of its chain at start."
    )


class HedgingSettings(Section):
    allow: bool = Field(
        False,
        description="Long and short of one symbol at once, each in its own book. QT_ALLOW_HEDGING sets it too.",
    )
    symbols: list[str] = Field(
        default_factory=list, description="Symbols for which hedging is allowed even where `allow` is false."
    )


class InstrumentSettings(Section):
    """One symbol at one exchange, where the default of its market is not right."""

    kind: Kind | None = Field(None, description="spot, linear or inverse.")
    contract_size: Positive = Field(Decimal(1), description="Units of base (inverse: of quote) per contract.")
    quantity_step: Positive = Field(Decimal("0.00000001"), description="Quantities are multiples of this.")
    price_step: Positive = Field(Decimal("0.00000001"), description="Prices are multiples of this.")
    min_quantity: NotNegative = Field(Decimal(0), description="Smallest order.")
    min_notional: NotNegative = Field(Decimal(0), description="Smallest order value, in quote currency.")


class PaperSettings(Section):
    market: Literal["auto", "spot", "linear", "inverse"] = Field(
        "auto",
        description="Kind of every instrument; auto: BTC/USDT is spot, BTC/USDT:USDT linear, BTC/USD:BTC inverse.",
    )
    spot_short: bool = Field(
        False, description="Whether a spot sell without a position opens a short on paper."
    )
    fee_pct: NotNegative = Field(
        Decimal("0.05"), description="Taker fee, in percent of the value, in the settlement currency."
    )
    maker_fee_pct: Amount = Field(Decimal("0.02"), description="Maker fee, in percent; negative is a rebate.")
    slippage_pct: NotNegative = Field(
        Decimal("0.01"), description="Market orders fill this much worse than bid or ask, in percent."
    )
    capital: Positive = Field(
        Decimal(100_000), description="Money the account starts with, in each quote currency."
    )
    leverage: Positive = Field(
        Decimal(5),
        description="Margin = notional / leverage for linear and inverse; spot needs it all. The liquidation guard counts with it, too.",
    )
    maintenance_pct: NotNegative = Field(
        Decimal("0.5"),
        le=50,
        description="Margin below which a venue would liquidate, in percent of the value: for the liquidation guard.",
    )
    partial_fill_pct: NotNegative = Field(
        Decimal(0), le=100, description="Chance that a fill is split in two, in percent, seeded."
    )
    reject_pct: NotNegative = Field(
        Decimal(0), le=100, description="Chance that an order is rejected, in percent, seeded."
    )
    seed: int = Field(1, description="Seed of the above chances.")


class ProducerSettings(Section):
    """A producer of intents that has a key, and the stream order.intent.NAME for itself."""

    key_file: str = Field(
        "", description="Its keys, for the executor; empty: where `holdfast keys new NAME` puts them."
    )
    symbols: list[str] = Field(default_factory=list, description="What it may trade; empty: everything.")
    max_notional: Positive | None = Field(None, description="Most in one entry, in quote currency.")
    rate_per_s: Positive | None = Field(None, description="Most entries a second.")

    @field_validator("symbols")
    @classmethod
    def _canonical(cls, symbols: list[str]) -> list[str]:
        return [canonical(symbol) for symbol in symbols]


class ScannerSettings(Section):
    retry_after_s: float = Field(
        5.0, gt=0, description="An exit without an end is sent again after this, in wall seconds."
    )
    market_after_s: float = Field(15.0, gt=0, description="... and as a market order after this.")
    alarm_after_s: float = Field(60.0, gt=0, description="... and the light turns red after this.")
    bad_print_pct: Percent = Field(
        Decimal(20),
        description="A jump beyond this in one tick fires nothing until a second tick confirms it.",
    )
    max_tick_age_s: float = Field(
        30.0, gt=0, description="Prices older than this, in wall seconds, turn the light yellow."
    )
    log_every_s: float = Field(
        5.0, gt=0, description='How often "exit evaluation: N positions, M armed" is logged, in s.'
    )


class FeedSettings(Section):
    spec: str = Field(
        "synthetic",
        description="replay:FILE[?speed=..&symbol=..][,FILE...], synthetic[?seed=..&symbols=..], or ccxt:EXCHANGE[?symbols=..].",
    )


class DemoSettings(Section):
    account: str = Field(
        "demo",
        description="The paper account it trades on, apart from yours; `holdfast up --demo` adds it to the accounts.",
    )
    symbol: str = Field("BTC/USDT:USDT", description="What the demonstration trades.")
    quantity: Positive = Field(Decimal("0.01"), description="Size of each demonstration entry.")
    fast: int = Field(5, ge=1, description="Samples of the fast average.")
    slow: int = Field(20, ge=2, description="Samples of the slow average; more than fast.")
    sample_s: NotNegative = Field(
        Decimal(0),
        description="Between two samples, in market seconds; 0: every tick of a live feed, 180 s of a replay.",
    )
    take_profit: ExitLevel = Field("0.5%", description="Take-profit of demonstration entries.")
    stop_loss: ExitLevel = Field("0.5%", description="Stop-loss of demonstration entries.")
    ttl_s: NotNegative = Field(
        Decimal(14_400), description="Longest hold of demonstration positions, in market seconds."
    )


class StateSettings(Section):
    directory: str = Field(
        "",
        description="Where the state files go; empty: --dir/state under `holdfast up`, logs/state otherwise. HOLDFAST_STATE_DIR sets it too.",
    )
    every_s: float = Field(1.0, gt=0, le=60, description="Files are written at least this often, in s.")
    max_tick_age_s: float = Field(
        60.0, gt=0, description="Prices older than this, in wall seconds, are late: the light is yellow."
    )
    max_heartbeat_age_s: float = Field(
        5.0, gt=0, description="A service silent for longer counts as down, in s."
    )


class DashboardSettings(Section):
    host: str = Field(
        "127.0.0.1",
        description="Address it listens on. Anything but loopback asks for a login to read, too.",
    )
    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="TCP port; 0: 8480 if that is free, otherwise another, remembered under --dir.",
    )
    hosts: list[str] = Field(
        default_factory=list,
        description="Further names under which it may be called, as in the address bar, without port; localhost always may.",
    )
    refresh_ms: int = Field(
        500, ge=100, le=10_000, description="Least time between two updates of an open page, in ms."
    )
    max_clients: int = Field(
        20, ge=1, le=1000, description="Most open pages at once; further ones are turned away."
    )
    answer_s: float = Field(
        10.0, gt=0, le=60, description="How long a button waits for the ledger's answer, in s."
    )
    session_h: float = Field(12.0, gt=0, le=720, description="A login ends after this, in h.")
    behind_tls: bool = Field(
        False, description="A proxy in front speaks https: cookies are marked Secure, origins must be https."
    )
    open_metrics: bool = Field(
        False,
        description="Whether /metrics answers anybody who reaches the port, for Prometheus in a private network.",
    )


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line that is logged."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, JSON elsewhere."
    )


class Settings(Section):
    """The whole configuration, validated."""

    dir: Path = Field(
        Path("var"), description="All data of this installation. HOLDFAST_DIR; --dir on the command line."
    )
    dry_run: bool = Field(False, description="Forces paper whatever else is set. DRY_RUN sets it too.")
    live: bool = Field(
        False,
        description='Real money for the accounts with mode = "live"; only here, never in holdfast.toml.',
    )
    health_file: str = Field(
        "",
        description="File in which a service notes each heartbeat that the bus has taken, for health checks: wall time in s, and ms for which its oldest message has waited. Empty: none.",
    )
    accounts: list[str] = Field(
        default_factory=lambda: ["main"],
        min_length=1,
        description="Accounts, on paper unless [account.NAME] says otherwise; one executor serves them all but for executor.apart.",
    )
    bus: BusSettings = Field(default_factory=BusSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    exits: ExitSettings = Field(default_factory=ExitSettings)
    account: dict[str, AccountSettings] = Field(
        default_factory=dict,
        description="Written as [account.NAME]: mode, exchange, limits and keys of one account; and [account.NAME.exits], [account.NAME.limits].",
    )
    hedging: HedgingSettings = Field(default_factory=HedgingSettings)
    instruments: dict[str, InstrumentSettings] = Field(default_factory=dict)
    producers: dict[str, ProducerSettings] = Field(
        default_factory=dict, description="Producers with a key and a stream of their own."
    )
    hooks: dict[str, HookSettings] = Field(
        default_factory=dict, description="Alerts from outside that become intents: POST /hooks/NAME."
    )
    hook_door: HookDoorSettings = Field(default_factory=HookDoorSettings)
    paper: PaperSettings = Field(default_factory=PaperSettings)
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)
    scanner: ScannerSettings = Field(default_factory=ScannerSettings)
    feed: FeedSettings = Field(default_factory=FeedSettings)
    demo: DemoSettings = Field(default_factory=DemoSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    learner: LearnerSettings = Field(default_factory=LearnerSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @field_validator("hooks")
    @classmethod
    def _hook_names(cls, hooks: dict[str, HookSettings]) -> dict[str, HookSettings]:
        for name in hooks:
            if not PRODUCER.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a hook: a-z, 0-9, - and _")
        return hooks

    @field_validator("producers")
    @classmethod
    def _names(cls, producers: dict[str, ProducerSettings]) -> dict[str, ProducerSettings]:
        for name in producers:
            if name in RESERVED or not PRODUCER.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name for a producer: a-z, 0-9, - and _, and no service's name"
                )
        return producers

    def streams(self) -> tuple[Stream, ...]:
        """Every stream of this installation: the table, and one for each producer."""
        return with_producers(self.producers, self.executor.apart)

    def keys_directory(self) -> Path:
        """Where keys and passwords live."""
        return Path(self.bus.keys) if self.bus.keys else self.dir / "keys"

    @model_validator(mode="after")
    def _policies_agree(self) -> Self:
        policy_table(self)
        return self

    @model_validator(mode="after")
    def _somebody_serves_every_account(self) -> Self:
        check_shares(self.accounts, self.executor)
        return self

    def served(self) -> list[str]:
        """The accounts of this executor."""
        return served(self.accounts, self.executor)

    @model_validator(mode="after")
    def _live_is_meant(self) -> Self:
        check_live(self)
        return self

    def state_directory(self) -> Path:
        """Where the state files live."""
        return Path(self.state.directory) if self.state.directory else self.dir / "state"
