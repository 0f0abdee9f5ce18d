"""The designs of the four incidents Holdfast is built from, before their fixes and as fixed, as small models in the simulator's world.

Each model does what its incident report says, no more and no less; `docs/simulation.md` shows what becomes of them.
"""
