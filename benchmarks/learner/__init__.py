"""Experiments with the learner: `python -m benchmarks.learner`, see docs/learner.md.

converge   markets with a known best exit: does it find it?
noise      a market without any: does it stay where it is?
recorded   recorded prices (not part of the project): what would it have changed, and what was that worth?
"""
