"""Proof that Holdfast keeps its promises: the real services, put through what may happen to them. Nothing here runs in production."""
