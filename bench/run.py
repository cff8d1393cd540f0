#!/usr/bin/env python3
"""Godwit beside its peers: the same disk, the same minute, ratios instead of seconds.

In each round every tool does the whole job once, one after the other, in an order that turns from round to round. The
first round warms up and does not count. Ratios are taken within a round; the table shows their medians.

  null       nbdcopy to nowhere: what only reading costs
  qemu-img   qemu-img convert -c to zstd qcow2, out of order, 16 requests (no fsync, no digest, no encryption)
  restic     restic backup from the raw file itself, not over NBD
  rustic     rustic backup of the same, in chunks of 64 KiB, as ours are (only if --rustic names it)
  godwit     a run of a replication job through a real `godwit serve`: read, digest, compress, encrypt, fsync, verify,
             commit; its time is the run's own record from started to completed

D out and R out are the way back: the image as a raw file by `godwit images export`, durable at its end, beside nbdcopy
from the source to a file, which is not.

D is a Debian-like file system, D+C64 the same disk after 5 % of its 64 KiB blocks were rewritten at random places, D+C4
after as many writes of 4 KiB within used data, D compared after a restart of the source that forgot what changed; R is
incompressible. A verification is in Godwit's time, and beside it. All is in the page cache.

Before that, the decision line with ten thousand jobs: see control.py.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import control
import disks
import parts
import targets

RESTIC = {"RESTIC_PASSWORD": "bench"}
RUSTIC = {"RUSTIC_PASSWORD": "bench"}
TOOLS = ["null", "nbdcopy", "qemu-img", "restic", "rustic", "godwit"]


class Round:
    """One round over one disk, in a folder that goes when the round ends."""

    def __init__(self, stack: contextlib.ExitStack, arguments, disk: pathlib.Path):
        # A short path for sockets; disks lie in the cache, which is on a real disk.
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gwb", dir="/tmp")))
        self.work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="round", dir=arguments.cache)))
        self.disk = self.work / "disk.raw"
        self.binary = arguments.godwit
        subprocess.run(["cp", "--sparse=always", str(disk), str(self.disk)], check=True)
        self.source = parts.Source(self.folder, self.disk)
        stack.callback(self.source.end)
        self.source.ready()
        self.repository = self.work / "restic"
        parts.run_peer(self.source, ["restic", "-q", "-r", str(self.repository), "init"], RESTIC)
        self.rustics = [arguments.rustic, "--no-cache", "--log-level", "warn", "-r", str(self.work / "rustic")]
        self.has_rustic = arguments.rustic is not None
        if self.has_rustic:
            chunks = ["--set-chunker", "fixed_size", "--set-chunk-size", "64KiB"]
            parts.run_peer(self.source, [*self.rustics, "init", *chunks], RUSTIC)
        self.godwit = parts.Godwit(self.binary, self.work, self.source)
        stack.callback(self.godwit.end)
        self.godwit.ready()

    def null(self) -> parts.Measure:
        return parts.run_peer(self.source, ["nbdcopy", "--connections=2", "--requests=16", self.source.uri, "null:"])

    def qemu_img(self) -> parts.Measure:
        out = self.work / "out.qcow2"
        command = ["qemu-img", "convert", "-c", "-W", "-m", "16", "-f", "raw", "-O", "qcow2"]
        measure = parts.run_peer(self.source, [*command, "-o", "compression_type=zstd", self.source.uri, str(out)])
        measure.stored = parts.used_bytes(out)
        out.unlink()
        return measure

    def restic(self) -> parts.Measure:
        before = parts.used_bytes(self.repository)
        command = ["restic", "-q", "-r", str(self.repository), "--no-cache", "backup", str(self.disk)]
        measure = parts.run_peer(self.source, command, RESTIC)
        measure.stored = parts.used_bytes(self.repository) - before
        return measure

    def rustic(self) -> parts.Measure:
        repository = self.work / "rustic"
        before = parts.used_bytes(repository)
        measure = parts.run_peer(self.source, [*self.rustics, "backup", "--no-scan", str(self.disk)], RUSTIC)
        measure.stored = parts.used_bytes(repository) - before
        return measure

    def tools(self) -> dict:
        peers = {"null": self.null, "qemu-img": self.qemu_img, "restic": self.restic}
        if self.has_rustic:
            peers["rustic"] = self.rustic
        return {**peers, "godwit": self.godwit.replicate}

    def nbdcopy(self) -> parts.Measure:
        out = self.work / "copy.raw"
        measure = parts.run_peer(self.source, ["nbdcopy", "--connections=2", "--requests=16", self.source.uri, str(out)])
        out.unlink()
        return measure

    def export(self) -> parts.Measure:
        out = self.work / "export.raw"
        measure = self.godwit.export(out)
        out.unlink()
        return measure

    def measure_export(self) -> dict[str, parts.Measure]:
        """Once each, after a copy was made."""
        return {"null": self.null(), "nbdcopy": self.nbdcopy(), "godwit": self.export()}

    def measure_compared(self, changes: list) -> dict[str, parts.Measure]:
        """After a restart of the source nobody knows what changed: everything is read, and compared by digest. A service
        of its own, because a job has two runs on demand a day."""
        folder = self.work / "other"
        folder.mkdir()
        other = parts.Godwit(self.binary, folder, self.source)
        try:
            other.ready()
            other.replicate()
            self.source.end()
            self.source.start()
            self.source.ready()
            self.source.write(self.folder, changes)
            return {"null": self.null(), "godwit": other.replicate()}
        finally:
            other.end()

    def measure(self, turn: int) -> dict[str, parts.Measure]:
        """Every tool once; which one begins depends on the turn."""
        tools = list(self.tools().items())
        first = turn % len(tools)
        return {name: tool() for name, tool in tools[first:] + tools[:first]}


def measure_disk(arguments, name: str, disk: pathlib.Path) -> tuple[dict[str, list], dict[str, int]]:
    """All rounds over one disk: lists of rounds by the name of the case, and how many bytes of blocks were changed."""
    cases: dict[str, list] = {}
    changed, small_blocks = 0, 0
    for turn in range(arguments.rounds + 1):
        say(f"disk {name}, " + (f"round {turn} of {arguments.rounds}" if turn else "warm-up"))
        with contextlib.ExitStack() as stack:
            one = Round(stack, arguments, disk)
            results = {name: one.measure(turn)}
            results[f"{name} out"] = one.measure_export()
            if name == "D":
                changes = disks.scattered_changes(disk.stat().st_size, turn)
                changed = len(changes) * disks.BLOCK
                one.source.write(one.folder, changes)
                results["D+C64"] = one.measure(turn)
                small = disks.small_changes(one.disk, turn)
                small_blocks = len({offset // disks.BLOCK for offset, _ in small}) * disks.BLOCK
                one.source.write(one.folder, small)
                results["D+C4"] = one.measure(turn)
                results["D compared"] = one.measure_compared(disks.scattered_changes(disk.stat().st_size, 1000 + turn))
        if turn:
            for case, measures in results.items():
                cases.setdefault(case, []).append(measures)
    return cases, {"D+C64": changed, "D+C4": small_blocks} if changed else {}


def median_ratio(rounds: list, over: str, under: str, figure: str) -> float:
    return statistics.median(getattr(r[over], figure) / max(getattr(r[under], figure), 1e-9) for r in rounds)


def summary(case: str, rounds: list) -> list[dict]:
    """One row per tool."""
    rows = []
    for tool in rounds[0]:
        row = {"disk": case, "tool": tool}
        for field in dataclasses.fields(parts.Measure):
            row[field.name] = statistics.median(getattr(r[tool], field.name) for r in rounds)
        row["wall_to_null"] = median_ratio(rounds, tool, "null", "wall")
        row["cpu_to_null"] = median_ratio(rounds, tool, "null", "cpu")
        row["wall_to_godwit"] = median_ratio(rounds, tool, "godwit", "wall")
        row["cpu_to_godwit"] = median_ratio(rounds, tool, "godwit", "cpu")
        rows.append(row)
    return sorted(rows, key=lambda row: TOOLS.index(row["tool"]))


def print_table(rows: list[dict]) -> None:
    print(f"\n{'disk':10} {'tool':9} {'wall s':>7} {'÷ null':>7} {'÷ godwit':>9} {'CPU s':>7} {'÷ null':>7}", end=" ")
    print(f"{'÷ godwit':>9} {'RSS MiB':>8} {'stored MB':>10} {'verify s':>9}")
    for row in rows:
        stored = "–" if not row["stored"] else f"{row['stored'] / 1e6:.1f}"
        verify = f"{row['verify']:.2f}" if row["verify"] else "–"
        print(f"{row['disk']:10} {row['tool']:9} {row['wall']:7.2f} {row['wall_to_null']:7.2f}", end=" ")
        print(f"{row['wall_to_godwit']:9.2f} {row['cpu']:7.2f} {row['cpu_to_null']:7.2f}", end=" ")
        print(f"{row['cpu_to_godwit']:9.2f} {row['rss_mib']:8.0f} {stored:>10} {verify:>9}")


def as_values(cases: dict) -> dict:
    """The rounds as they are written down."""
    return {case: [{t: dataclasses.asdict(m) for t, m in r.items()} for r in rounds] for case, rounds in cases.items()}


def write_results(arguments, rows: list[dict], cases: dict, changed: dict[str, int], decisions: list[dict]) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    folder = pathlib.Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{now:%Y%m%d-%H%M%S}.json"
    machine = {"kernel": platform.release(), "cores": os.cpu_count()}
    said = {"at": now.isoformat(), "full": arguments.full, "machine": machine, "changed_bytes": changed}
    file.write_text(json.dumps({**said, "medians": rows, "rounds": as_values(cases), "control": decisions}, indent=1))
    print(f"\nall figures: {file}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--godwit", required=True, help="the binary (./dev bench fills this in)")
    parser.add_argument("--cache", required=True, type=pathlib.Path, help="where disks are kept (./dev bench fills this in)")
    parser.add_argument("--full", action="store_true", help="the large disks")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--costs", required=True, help="the example of godwit-control (./dev bench fills this in)")
    parser.add_argument("--rustic", help="the binary of rustic (./dev bench --full fills this in)")
    parser.add_argument("--only", choices=["D", "R", "control"], help="one disk, or the decision line, only")
    return parser.parse_args()


def main() -> None:
    # Ends as after an error, so that everything that was started is ended.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))
    arguments = read_arguments()
    cases, rows, changed, decisions = {}, [], {}, []
    if arguments.only in (None, "control"):
        say("the decision line with many jobs")
        arguments.cache.mkdir(parents=True, exist_ok=True)
        decisions = control.measure(arguments)
        control.print_table(decisions)
    if arguments.only == "control":
        return write_results(arguments, rows, cases, changed, decisions)
    for program in ("nbdcopy", "restic", "qemu-img", "qemu-storage-daemon", "qemu-io"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: run this through ./dev bench")
    for name, disk in disks.build(arguments.cache, arguments.full).items():
        if arguments.only in (None, name):
            measured, blocks_changed = measure_disk(arguments, name, disk)
            cases.update(measured)
            changed.update(blocks_changed)
    for case, rounds in cases.items():
        rows += summary(case, rounds)
    print_table(rows)
    targets.print_table(targets.rows(as_values(cases), changed))
    write_results(arguments, rows, cases, changed, decisions)


main()
