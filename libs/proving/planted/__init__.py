"""Bugs that somebody would write, planted into the real code to see whether the proofs notice them."""
