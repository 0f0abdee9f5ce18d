"""Several executors read the same streams, each in a group of its own: every intent is answered by one of them, and by one only."""

import pytest
from pydantic import ValidationError

from holdfast.contracts.base import ContractViolation, Unauthentic
from holdfast.contracts.codes import Code
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.streams import EXECUTOR, ORDER_INTENT, ORDER_INTENT_EXIT, Reading, intent_stream
from holdfast.contracts.wire import Ack, Entry
from holdfast.runtime.settings import Settings
from services.executor.share import Share

ACCOUNTS = ["main", "second", "third"]


def settings(account="", apart=("second", "third")):
    return Settings.model_validate(
        {
            "accounts": ACCOUNTS,
            "executor": {"account": account, "apart": list(apart)},
            "producers": {"alice": {}},
        }
    )


def shares():
    return [Share(settings(account)) for account in ("", "second", "third")]


def entry(account):
    intent = OrderIntent(
        id=f"i-{account}", at=1, symbol="BTC/USDT", side="buy", quantity="1", account=account
    )
    return Entry(ORDER_INTENT, f"1-{len(account)}", b"", intent)


def broken(error=None):
    return Entry(ORDER_INTENT, "2-0", b"{", None, error or ContractViolation("body", "no JSON"))


@pytest.mark.parametrize("item", [*map(entry, [*ACCOUNTS, "nobody"]), broken()])
def test_every_entry_has_one_executor_that_answers_it(item):
    assert [share.takes(item) for share in shares()].count(True) == 1


def test_what_nobody_else_serves_is_answered_by_the_one_that_serves_the_rest():
    rest = shares()[0]
    assert all(map(rest.takes, [entry("main"), entry("nobody"), broken()]))
    assert rest.accounts == ["main"]


async def test_what_is_not_ours_is_acknowledged_and_not_given_to_the_handler():
    given = []

    async def handler(batch):
        given.extend(batch)
        return []

    mine, other = entry("second"), entry("main")
    outputs = await shares()[1].only(handler)([mine, other])
    assert (given, outputs) == ([mine], [Ack(ORDER_INTENT, other.entry_id)])


async def test_a_forged_entry_is_told_once():
    forged = broken(Unauthentic(Code.UNSIGNED, "no key"))
    seen = [share.decoded(lambda *_: forged)(ORDER_INTENT, "2-0", {}) for share in shares()]
    assert [isinstance(found.error, Unauthentic) for found in seen] == [True, False, False]
    assert [share.takes(found) for share, found in zip(shares()[1:], seen[1:], strict=True)] == [False, False]


def test_each_has_a_group_on_every_stream_of_intents_and_on_nothing_else():
    groups = {EXECUTOR, "executor.second", "executor.third"}
    assert {share.group for share in shares()} == groups
    streams = {
        stream.name: set(stream.groups) for stream in settings().streams() if stream.reading is Reading.WORK
    }
    intents = {ORDER_INTENT.name, ORDER_INTENT_EXIT.name, intent_stream("alice").name}
    assert {name for name, found in streams.items() if found >= groups} == intents
    assert not any(found & (groups - {EXECUTOR}) for name, found in streams.items() if name not in intents)


@pytest.mark.parametrize(
    ("account", "apart", "named"),
    [
        ("", ["nobody"], "executor.apart: accounts does not list nobody"),
        ("", ACCOUNTS, "executor.apart: leave one account"),
        ("main", ["second"], "executor.account: executor.apart does not list 'main'"),
    ],
)
def test_a_share_that_cannot_be_is_refused(account, apart, named):
    with pytest.raises(ValidationError, match=named):
        settings(account, apart)
