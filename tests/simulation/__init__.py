"""Simulated worlds, and the parts they are made of."""
