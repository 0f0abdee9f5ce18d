"""Coverage-guided fuzzing of the same targets, for some minutes, by hand: `make fuzz`, or

    .venv/bin/python -m tests.fuzz.atheris_decoders -max_total_time=180

The first byte of an input chooses the target. A finding ends the run and is written to a file, as libFuzzer does.
"""

import sys

import atheris

with atheris.instrument_imports(include=["holdfast", "services"]):
    from tests.fuzz.targets import TARGETS

NAMES = sorted(TARGETS)


def one_input(data: bytes) -> None:
    """One execution. Whatever a target does not promise to raise is a finding."""
    if data:
        TARGETS[NAMES[data[0] % len(NAMES)]](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
