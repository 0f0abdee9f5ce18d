"""The deterministic simulator: years of faults for the real services, in one thread, in virtual time, from one seed.

`run.run_seed` runs one world; `campaign` runs many and reports. What is real and what is not: docs/simulation.md.
"""
