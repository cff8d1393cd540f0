#!/usr/bin/env python3
"""How costs grow with the size of a volume, the number of its snapshots, and volumes at once; drawn as pictures.

Each point is a process of its own (crates/blocks/examples/curves.rs) over an empty store in a folder. A picture has one
line for each figure, on logarithmic axes: flat is flat, and proportional is a diagonal. Pictures go to docs/curves-*.svg,
figures to bench/results/.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

GIB = 1 << 30
POINTS = {
    "size": [GIB << shift for shift in range(0, 17, 2)],
    "snapshots": [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000],
    "volumes": [1, 2, 4, 8, 16, 32, 64],
}
QUICK = {"size": [GIB, 64 * GIB, 65536 * GIB], "snapshots": [2, 20, 100], "volumes": [1, 4, 16]}

PICTURES = {
    "size": ("A volume with 256 MiB of data, by its size", "size"),
    "snapshots": ("One more snapshot with 16 changed blocks (1 MiB), by how many there are", "snapshots"),
    "volumes": ("First copies of volumes with 256 MiB of data each, by how many at once", "volumes"),
}
FIGURES = {
    "size": {
        "first copy, s": "first_seconds", "increment, s": "increment_seconds", "verification, s": "verify_seconds",
        "64 reads, s": "read_seconds", "difference, s": "diff_seconds", "memory beyond rest, MiB": "peak_mib_beyond_rest",
        "sweep, s": "sweep_seconds", "objects": "objects", "first copy: metadata, KiB": "first_metadata", "increment: metadata, KiB": "increment_metadata",
    },
    "snapshots": {
        "increment, s": "increment_seconds", "64 reads, s": "read_seconds", "difference, s": "diff_seconds",
        "deletion, s": "delete_seconds", "sweep, s": "sweep_seconds", "memory beyond rest, MiB": "peak_mib_beyond_rest",
        "objects": "objects", "increment: metadata, KiB": "increment_metadata",
    },
    "volumes": {
        "all of them, s": "seconds", "each, s": "seconds_each", "memory beyond rest, MiB": "peak_mib_beyond_rest",
        "objects": "objects", "each: metadata, KiB": "each_metadata",
    },
}
COLOURS = ["#1b6ca8", "#c8553d", "#2a9d5c", "#8d5fb0", "#b8860b", "#444444", "#d16ba5", "#4aa5a5", "#7a7a2a"]


def measure(example: str, cache: pathlib.Path, quick: bool) -> dict[str, list[dict]]:
    cache.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict]] = {}
    for what, points in (QUICK if quick else POINTS).items():
        for point in points:
            print(f"{what} {point}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="curve", dir=cache) as folder:
                done = subprocess.run([example, what, folder, str(point)], capture_output=True, text=True, timeout=1800)
            if done.returncode:
                sys.exit(f"{what} {point}: {done.stderr}")
            figures = json.loads(done.stdout)
            for name in [name for name in figures if name.endswith("_metadata")]:
                figures[name] /= 1024
            found.setdefault(what, []).append({"point": point, **figures})
    return found


def label(what: str, point: int) -> str:
    if what != "size":
        return f"{point:,}"
    return f"{point // GIB} GiB" if point < 1024 * GIB else f"{point // GIB // 1024} TiB"


def figure_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(what: str, rows: list[dict]) -> str:
    """A picture with logarithmic axes, readable on light and dark grounds."""
    title, _ = PICTURES[what]
    lines = {name: [max(row[key], 1e-4) for row in rows] for name, key in FIGURES[what].items()}
    width, height, left, top, right, bottom = 960, 520, 70, 50, 300, 60
    low = math.floor(math.log10(min(min(values) for values in lines.values())))
    high = math.ceil(math.log10(max(max(values) for values in lines.values())))
    xs = [math.log(row["point"]) for row in rows]

    def x(at: float) -> float:
        return left + (at - xs[0]) / max(xs[-1] - xs[0], 1e-9) * (width - left - right)

    def y(value: float) -> float:
        return height - bottom - (math.log10(value) - low) / max(high - low, 1) * (height - top - bottom)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">']
    out.append(f'<rect width="{width}" height="{height}" fill="#ffffff"/>')
    out.append(f'<text x="{left}" y="28" font-size="16" fill="#222">{title}</text>')
    for power in range(low, high + 1):
        at = y(10**power)
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        text = f"{10**power:,}" if power >= 0 else f"{10**power:.{-power}f}"
        out.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#555">{text}</text>')
    for row, at in zip(rows, xs):
        out.append(f'<text x="{x(at):.1f}" y="{height - bottom + 22}" text-anchor="middle" fill="#555">{label(what, row["point"])}</text>')
    names = sorted(lines, key=lambda name: -lines[name][-1])
    places = spread([y(lines[name][-1]) + 4 for name in names], 17, height - bottom)
    for name, place in zip(names, places):
        colour = COLOURS[list(lines).index(name) % len(COLOURS)]
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(xs, lines[name]))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end = y(lines[name][-1])
        out.append(f'<line x1="{width - right}" y1="{end:.1f}" x2="{width - right + 12}" y2="{place - 4:.1f}" stroke="{colour}"/>')
        out.append(f'<text x="{width - right + 16}" y="{place:.1f}" fill="{colour}">{name}: {figure_text(lines[name][-1])}</text>')
    return "\n".join([*out, "</svg>", ""])


def spread(places: list[float], distance: float, lowest: float) -> list[float]:
    """Moves labels apart, from top to bottom, and up again if they run out of the picture."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + distance) if moved else place)
    for at in range(len(moved) - 1, -1, -1):
        limit = lowest if at == len(moved) - 1 else moved[at + 1] - distance
        moved[at] = min(moved[at], limit)
    return moved


def print_table(what: str, rows: list[dict]) -> None:
    print(f"\n{PICTURES[what][0]}\n")
    print(f"| {what} | " + " | ".join(FIGURES[what]) + " |")
    print("|---" * (len(FIGURES[what]) + 1) + "|")
    for row in rows:
        figures = " | ".join(figure_text(row[key]) for key in FIGURES[what].values())
        print(f"| {label(what, row['point'])} | {figures} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", required=True, help="the example of godwit-blocks (./dev bench fills this in)")
    parser.add_argument("--cache", required=True, type=pathlib.Path, help="where stores are made (./dev bench fills this in)")
    parser.add_argument("--quick", action="store_true", help="three points of each, and no pictures")
    arguments = parser.parse_args()
    found = measure(arguments.example, arguments.cache, arguments.quick)
    repository = pathlib.Path(__file__).parent.parent
    results = repository / "bench/results"
    results.mkdir(exist_ok=True)
    (results / "curves.json").write_text(json.dumps(found, indent=1))
    for what, rows in found.items():
        print_table(what, rows)
        if not arguments.quick:
            (repository / f"docs/curves-{what}.svg").write_text(draw(what, rows))


main()
