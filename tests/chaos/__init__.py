"""Kills, wipes and rewinds on real processes: a short run in the suite, a long one by hand."""
