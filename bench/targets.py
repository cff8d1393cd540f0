"""What was wanted beside what was measured, from the rounds of run.py. The job is the copy until its commit; what the
verification adds is a row of its own.

Alone it says the same of an earlier measurement: python3 bench/targets.py bench/results/FILE.json"""

import json
import pathlib
import statistics
import sys


def copy(measures: dict) -> float:
    """Seconds of Godwit's job until its commit."""
    return measures["godwit"]["wall"] - measures["godwit"]["verify"]


def over_null(m: dict) -> float:
    return copy(m) / m["null"]["wall"]


def peer_over(peer: str):
    return lambda m: m[peer]["wall"] / copy(m)


# Case, figure, what is wanted, whether that is a least, and the figure of one round.
TARGETS = [
    ("D", "copy ÷ null", 3.1, False, over_null),
    ("D", "CPU of copy and verification ÷ null's", 3.5, False, lambda m: m["godwit"]["cpu"] / m["null"]["cpu"]),
    ("D", "restic ÷ copy", 3.5, True, peer_over("restic")),
    ("D", "rustic ÷ copy", 3.7, True, peer_over("rustic")),
    ("D", "restic's CPU ÷ ours, verification included", 4.0, True, lambda m: m["restic"]["cpu"] / m["godwit"]["cpu"]),
    ("D", "qemu-img ÷ copy", 1.75, True, peer_over("qemu-img")),
    ("D", "stored ÷ read", 0.47, False, lambda m: m["godwit"]["stored"] / m["godwit"]["read"]),
    ("D", "stored ÷ what restic stored", 1.1, False, lambda m: m["godwit"]["stored"] / m["restic"]["stored"]),
    ("D", "verification ÷ copy", 0.20, False, lambda m: m["godwit"]["verify"] / copy(m)),
    ("D+C64", "copy ÷ null of the whole disk", 0.5, False, over_null),
    ("D+C64", "restic ÷ copy", 20, True, peer_over("restic")),
    ("D compared", "copy ÷ null", 2.0, False, over_null),
    ("R", "copy ÷ null", 2.0, False, over_null),
    ("D out", "export ÷ nbdcopy to a file", 2.0, False, lambda m: m["godwit"]["wall"] / m["nbdcopy"]["wall"]),
]


def rows(rounds: dict[str, list], changed: dict[str, int]) -> list[dict]:
    """One row for each target: medians of the rounds' own ratios, or None where the case or a peer was not measured."""
    found = []
    for case, figure, wanted, least, ratio in TARGETS:
        try:
            value = statistics.median(map(ratio, rounds[case]))
        except KeyError:
            value = None
        found.append({"case": case, "figure": figure, "wanted": wanted, "least": least, "is": value})
    for case, blocks in changed.items():
        for figure, wanted in (("read", 1.0), ("stored", 1.02)):
            ratio = statistics.median(m["godwit"][figure] / blocks for m in rounds[case])
            found.append({"case": case, "figure": f"{figure} ÷ changed blocks", "wanted": wanted, "least": False, "is": ratio})
    return found


def is_reached(row: dict) -> bool:
    """Also of what was not measured: nothing speaks against it."""
    if row["is"] is None:
        return True
    # What is shown is judged: 1.0004 blocks for one is one.
    value = round(row["is"], 3)
    return value >= row["wanted"] if row["least"] else value <= row["wanted"]


def print_table(found: list[dict]) -> None:
    print(f"\n{'disk':10} {'figure':44} {'wanted':>8} {'is':>7}")
    for row in found:
        sign = "≥" if row["least"] else "≤"
        wanted = f"{sign} {row['wanted']:g}"
        value = "–" if row["is"] is None else f"{row['is']:.2f}"
        print(f"{row['case']:10} {row['figure']:44} {wanted:>8} {value:>7} {'' if is_reached(row) else '!'}")
    if any(row["is"] is None for row in found):
        print("–: not measured in this run")


if __name__ == "__main__":
    said = json.loads(pathlib.Path(sys.argv[1]).read_text())
    print_table(rows(said["rounds"], said["changed_bytes"]))
