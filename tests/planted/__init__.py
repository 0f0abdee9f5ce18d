"""Bugs put into the real code on purpose, and the scenarios that must notice them."""
