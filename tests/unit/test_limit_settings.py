"""`[limits]` and `[account.NAME.limits]`: read key by key, wrong ones answered with line and key."""

from decimal import Decimal

import pytest

from holdfast.domain.limits import Limits
from holdfast.domain.portfolio_rules import PortfolioRules
from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.limit_settings import AccountLimitKeys, LimitOverrides, LimitSettings, portfolio_of

D = Decimal


@pytest.fixture
def settings(tmp_path):
    def read(text, **env):
        path = tmp_path / "holdfast.toml"
        path.write_text(text)
        return load(config=path, env=env, dotenv=tmp_path / "none")

    return read


def test_everything_is_off_until_it_is_set(settings):
    portfolio = portfolio_of(settings(""))
    assert (portfolio.default, portfolio.special) == (PortfolioRules(), {})
    assert portfolio.total == PortfolioRules(of_all=True)
    assert not portfolio.needs_nav


def test_an_account_overrides_key_by_key(settings):
    found = settings(
        """
[limits]
cooldown_s = 60
max_account_notional = 1000
max_daily_loss = 50
max_total_drawdown_pct = 20
[account.second.limits]
cooldown_s = "off"
max_account_notional = 10
loss_streak = 3
"""
    )
    portfolio = portfolio_of(found)
    assert (portfolio.of("main").cooldown_ms, portfolio.of("main").loss_streak) == (60_000, None)
    second = portfolio.of("second")
    assert (second.cooldown_ms, second.loss_streak, second.max_daily_loss) == (None, 3, 50)
    assert second.max_drawdown_pct is None
    assert portfolio.of("").max_drawdown_pct == 20
    assert portfolio.limits["second"] == Limits.of(
        found.limits.model_copy(update={"max_account_notional": D(10)})
    )
    assert "main" not in portfolio.limits


def test_every_key_of_an_account_can_be_overridden_and_no_key_of_all():
    assert LimitOverrides.model_fields.keys() == AccountLimitKeys.model_fields.keys()
    assert {"max_positions", "max_total_notional", "max_nav_age_s"} <= (
        LimitSettings.model_fields.keys() - AccountLimitKeys.model_fields.keys()
    )


def test_the_environment_sets_them_too(settings):
    found = settings("", HOLDFAST_LIMITS_LOSS_STREAK="4", HOLDFAST_LIMITS_COOLDOWN_S="off")
    assert (found.limits.loss_streak, found.limits.cooldown_s) == (4, "off")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[limits]\nmax_drawdown_pct = 101\n", ["line 2", "limits.max_drawdown_pct"]),
        ("[limits]\ncooldown_s = 0\n", ["line 2", "limits.cooldown_s"]),
        ("[limits]\nloss_streak = 0\n", ["line 2", "limits.loss_streak"]),
        ("[limits]\nmax_dayly_loss = 5\n", ["line 2", "did you mean max_daily_loss?"]),
        (
            "[account.main.limits]\nmax_positions = 5\n",
            ["line 2", "main.limits.max_positions", "no such key"],
        ),
        ("[account.main.limits]\nmax_daily_loss = -5\n", ["line 2", "main.limits.max_daily_loss"]),
    ],
)
def test_a_mistake_is_answered_with_its_line_and_its_key(settings, text, parts):
    with pytest.raises(ConfigurationError) as complaint:
        settings(text)
    for part in parts:
        assert part in str(complaint.value)
