#!/usr/bin/env python3
"""Prints runs side by side: FILE... with what `godwit runs show RUN --json` said of each."""

import datetime
import json
import sys

ROWS = (
    ("bytes of the disk", "bytes_total"),
    ("read from the guest", "bytes_read"),
    ("sent to the store", "bytes_sent"),
    ("stored", "bytes_stored"),
    ("sent again", "bytes_resent"),
)


def moment(value) -> float:
    """A time as seconds, however it is written."""
    if isinstance(value, (int, float)):
        return float(value)
    return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()


def seconds(run: dict) -> str:
    begin = run.get("started_on") or run.get("scheduled_start_time")
    return f"{moment(run['completed_time']) - moment(begin):.1f}" if run.get("completed_time") and begin else "–"


def mib(value: float) -> str:
    return f"{value / (1 << 20):,.1f} MiB"


def column(run: dict) -> list[str]:
    volumes = run["volumes"]
    sums = [mib(sum(v.get(key) or 0 for v in volumes)) for _, key in ROWS]
    digest = ", ".join((v.get("root_digest") or "–")[:16] for v in volumes)
    return [run["run_id"], *sums, seconds(run), run.get("consistency") or "–", digest]


def main() -> None:
    runs = [json.load(open(path)) for path in sys.argv[1:]]
    names = ["run", *(name for name, _ in ROWS), "seconds", "consistency", "root digest"]
    columns = [column(run) for run in runs]
    widths = [max(map(len, c)) for c in columns]
    for row, name in enumerate(names):
        print(f"{name:20}" + "".join(f"  {c[row]:>{w}}" for c, w in zip(columns, widths)))
    for run in runs:
        for text in (run.get("notes") or []) + [n for v in run["volumes"] for n in v.get("notes") or []]:
            print(f"note of {run['run_id']}: {text}")


main()
