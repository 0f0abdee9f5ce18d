"""What a planted bug is, and how it is planted: product code is patched for the time of a run, and put back."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

_NOT_THERE: Any = object()


class Patch(Protocol):
    """Replaces an attribute until somebody puts it back: pytest's `MonkeyPatch`, or a `StackPatch`."""

    def setattr(self, target: Any, name: str, value: Any, /) -> None: ...


def original(module: Any, name: str) -> Any:
    """What *module* calls *name*, wherever it comes from."""
    return getattr(module, name)


class StackPatch:
    """Patches that an ExitStack takes back."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def setattr(self, target: Any, name: str, value: Any, /) -> None:
        before = vars(target).get(name, _NOT_THERE)
        setattr(target, name, value)
        if before is _NOT_THERE:
            self._stack.callback(delattr, target, name)
        else:
            self._stack.callback(setattr, target, name, before)


@dataclass(frozen=True, slots=True)
class Bug:
    """*breaks* names the invariant, or is empty for those that are asked for by name; *restores*: what a naive design does."""

    name: str
    breaks: str
    restores: str
    plant: Callable[[Patch], None]
    kinds: tuple[str, ...] = ()
    """Faults that provoke it, of the simulator's menu: worlds have these and no others. Empty: whatever their seed chooses."""
    steps: int = 0
    """Of its worlds; 0: as many as the hunt gives them. A bug that needs long pauses needs long worlds."""
    unseen: str = ""
    """Why a simulated world cannot meet it, where that is so: then a scenario of its own must."""

    def enter(self, stack: ExitStack) -> None:
        """Plant it until *stack* is left: what `run_seed` takes."""
        self.plant(StackPatch(stack))
