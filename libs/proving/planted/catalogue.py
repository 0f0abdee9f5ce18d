"""All planted bugs, in the order in which the page shows them."""

from proving.planted.bug import Bug
from proving.planted.first import FIRST
from proving.planted.of_bus import OF_BUS
from proving.planted.of_executor import OF_EXECUTOR
from proving.planted.of_ledger import OF_LEDGER

BUGS: tuple[Bug, ...] = (*FIRST, *OF_LEDGER, *OF_EXECUTOR, *OF_BUS)
