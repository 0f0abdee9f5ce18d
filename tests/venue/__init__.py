"""Tests that talk to the simulated venue over loopback, through the unmodified exchange library."""
