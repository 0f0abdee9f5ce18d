"""How a service process ends when it cannot begin: with a sentence and a code, never with a traceback."""

import logging

import pytest

from holdfast.runtime import entry
from holdfast.runtime.faults import EXIT_HELD, EXIT_UNAVAILABLE, Terminal, Transient
from holdfast.runtime.settings import Settings


@pytest.fixture(autouse=True)
def _nothing_ambient(monkeypatch):
    monkeypatch.setattr(entry, "load", Settings)
    monkeypatch.setattr(entry, "configure", lambda name, settings: None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Transient("store ledger.db: database is locked"), EXIT_UNAVAILABLE),
        (Terminal("another ledger has this store", EXIT_HELD), EXIT_HELD),
    ],
)
def test_what_keeps_a_service_from_starting_is_said(error, code, caplog):
    """A store that was busy while it was opened ended the ledger with a traceback and code 1 (simulator, seed 7)."""

    def build(settings):
        raise error

    with caplog.at_level(logging.CRITICAL), pytest.raises(SystemExit) as ended:
        entry.run_service("ledger", build)
    assert ended.value.code == code
    assert str(error) in caplog.text


def test_the_exit_code_is_the_services_own():
    class Ends:
        def run(self):
            return 70

    with pytest.raises(SystemExit) as ended:
        entry.run_service("ledger", lambda settings: Ends())
    assert ended.value.code == 70
