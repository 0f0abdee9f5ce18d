"""What a process holds and what a stream holds, read from outside; and lines fitted through it.

Everything comes from /proc and from the bus: the services are not asked, and need not know.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from holdfast.contracts import streams

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6
    except (OSError, IndexError):
        return 0.0


def peak_mb(pid: int) -> float:
    """The most memory a process has had resident since it started or since `forget_peak`, MB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), 0.0)


def forget_peak(pid: int) -> None:
    """Count the peak from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def file_handles(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def cpu_s(pid: int) -> float:
    """Processor time used so far, s."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lengths(client: "redis.Redis[bytes]") -> dict[str, int]:
    """Entries in every stream."""
    pipe = client.pipeline(transaction=False)
    for stream in streams.STREAMS:
        pipe.xlen(stream.name)
    return dict(zip((stream.name for stream in streams.STREAMS), pipe.execute(), strict=True))


def lag(client: "redis.Redis[bytes]") -> int:
    """Entries of work streams that their groups have not been given, and those given and not acknowledged."""
    total = 0
    for stream in streams.STREAMS:
        for group in client.xinfo_groups(stream.name) if stream.groups else ():
            total += int(group["lag"] or 0) + int(group["pending"])
    return total


def on_disk_mb(folder: Path) -> float:
    """Sizes of the files in *folder*, MB."""
    return (
        sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
        if folder.exists()
        else 0.0
    )


def used_mb(client: "redis.Redis[bytes]") -> float:
    """What the bus itself counts as used, MB."""
    return client.info("memory")["used_memory"] / 1e6


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares through (x, y); 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def sample(client: "redis.Redis[bytes]", pids: Mapping[str, int]) -> dict[str, float]:
    """All of it once, as flat names: `memory ledger`, `handles ledger`, `length fill`, `lag`, `bus used`."""
    found: dict[str, float] = {"lag": lag(client), "bus used": used_mb(client)}
    for name, pid in pids.items():
        found[f"memory {name}"] = resident_mb(pid)
        found[f"handles {name}"] = file_handles(pid)
        found[f"cpu {name}"] = cpu_s(pid)
    return found | {f"length {name}": length for name, length in lengths(client).items()}
