"""`python -m benchmarks.learner --out docs [--data FOLDER] [converge] [noise] [taken_back] [recorded]`: the experiments of docs/learner.md.

Writes FOLDER/benchmarks/learner.json and FOLDER/images/learner-*.svg. What is not asked for stays as it was. `--data` is where recorded
prices are; they are no part of the project. They take an hour of one core.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.learner import converge, noise, recorded, taken_back

NAMES = ("converge", "noise", "taken_back", "recorded")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learner", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=int, default=noise.RUNS, help="of noise")
    parser.add_argument("--plots-only", action="store_true", help="draw again what was measured")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=[])
    asked = parser.parse_args()
    file = asked.out / "benchmarks" / "learner.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in () if asked.plots_only else asked.names or NAMES:
        if name == "converge":
            results[name] = converge.run()
        elif name == "noise":
            results[name] = noise.run(asked.runs)
        elif name == "taken_back":
            results[name] = taken_back.run()
        elif asked.data is not None:
            results[name] = recorded.run(asked.data)
        file.write_text(json.dumps(results, indent=1) + "\n")
    for name, module in (("converge", converge), ("noise", noise), ("recorded", recorded)):
        if name in results:
            (asked.out / "images" / f"learner-{name}.svg").write_text(module.plot(results[name]))


if __name__ == "__main__":
    main()
