"""Ambient things in one place, so that nobody else touches them: clock, ids, settings, logging, files, locks, processes."""
