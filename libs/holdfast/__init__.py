"""Holdfast keeps a trading bot's positions safe.

Start with `contracts.streams` (who says what to whom), then `domain` (every decision, pure), then
`services/` (the processes). `position_invariant` and `state` are public and usable alone.
"""

__version__ = "0.1.0"
