"""The report and the explanation of a failure, as people read them."""

from proving.sim.campaign import Report
from proving.sim.menu import KINDS
from proving.sim.shrink import Shrunk
from proving.sim.sometimes import SOMETIMES

TIMELINE = 60
"""Lines of the story of a failed run that are shown."""


def table(report: Report) -> str:
    """The figures of a campaign."""
    fields = report.as_fields()
    recovery, points = fields["recovery_s"], fields["points"]
    lines = [
        f"{report.seeds} seeds, {report.steps:,} steps, {fields['virtual_hours']} virtual hours",
        f"{fields['wall_s']} s, {fields['steps_per_s']} steps a second",
        f"{report.intents:,} intents, {report.trades:,} closed positions, {report.checks:,} audits, {fields['faults_total']:,} faults",
        f"points at which a process was killed: {points['covered']} of {points['total']}",
        f"from a death to everything armed again, virtual time: p50 {recovery['p50']} s, p99 {recovery['p99']} s",
        "",
        "faults",
        *_columns([(kind, report.faults[kind]) for kind in KINDS]),
        "",
        f"rare situations reached: {len(SOMETIMES) - len(report.never)} of {len(SOMETIMES)}",
        *_columns([(name, report.sometimes[name]) for name in SOMETIMES]),
        "",
        f"violations: {len(report.failed)}",
        *(
            f"  seed {result.seed}: {result.violations[0]}"
            for result in sorted(report.failed, key=lambda r: r.seed)[:20]
        ),
        f"trace {report.hash}",
    ]
    return "\n".join([*lines, ""])


def _columns(rows: list[tuple[str, int]]) -> list[str]:
    """Two columns of names and counts."""
    half = (len(rows) + 1) // 2
    cells = [f"{name:<38}{count:>8,}" for name, count in rows]
    right = [*cells[half:], ""]
    return [f"  {cells[n]}    {right[n]}".rstrip() for n in range(half)]


def explained(shrunk: Shrunk, steps: int, version: str) -> str:
    """What failed, what it needs, and how to see it again."""
    result = shrunk.result
    keys = ",".join(shrunk.keys)
    lines = [
        "",
        f"seed {result.seed} at {version}: {result.violations[0]}",
        f"shrunk from {shrunk.before} faults to {len(shrunk.keys)} in {shrunk.runs} runs:",
        *(f"  {fault.at_s:10.3f} s  {fault.key}" for fault in result.faults),
        "timeline (virtual ms):",
        *(f"  {line}" for line in result.story[-TIMELINE:]),
        "again, with every step:",
        f"  holdfast sim --seed {result.seed} --steps {steps} --only '{keys}' --trace",
    ]
    return "\n".join([*lines, ""])
