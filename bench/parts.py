"""What is started and measured: the source (qemu-storage-daemon), Godwit's service, and commands of peers."""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import select
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
RUN_BOUND = 3600


@dataclasses.dataclass
class Measure:
    """One job done once. CPU includes the source's share."""

    wall: float
    cpu: float
    rss_mib: float
    stored: int = 0
    read: int = 0
    # Of the wall: the verification, which reads everything back after the commit.
    verify: float = 0


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def used_bytes(path: pathlib.Path) -> int:
    """What a file or folder takes on the disk."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(f.stat().st_blocks * 512 for f in files)


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Source:
    """A storage daemon that serves one raw disk: over NBD to peers and to us, who play the guest, and QMP to Godwit."""

    def __init__(self, folder: pathlib.Path, disk: pathlib.Path):
        self.qmp = folder / "qmp.sock"
        self.socket = folder / "nbd.sock"
        self.uri = f"nbd+unix:///guest?socket={self.socket}"
        self.disk = disk
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["qemu-storage-daemon", "--chardev", f"socket,id=c0,path={self.qmp},server=on,wait=off"]
            + ["--monitor", "chardev=c0", "--nbd-server", f"addr.type=unix,addr.path={self.socket},max-connections=0"]
            + ["--blockdev", f"driver=file,node-name=file0,filename={self.disk},discard=unmap"]
            + ["--blockdev", "driver=raw,node-name=disk0,file=file0,discard=unmap"]
            + ["--export", "nbd,id=guest,node-name=disk0,name=guest,writable=on"]
        )

    def ready(self) -> None:
        """Waits until it listens."""
        bound = time.monotonic() + 20
        while not (self.qmp.exists() and self.socket.exists()):
            if time.monotonic() > bound or self.process.poll() is not None:
                raise RuntimeError("qemu-storage-daemon did not start")
            time.sleep(0.02)

    def write(self, folder: pathlib.Path, changes: list[tuple[int, bytes]]) -> None:
        """Writes as a guest would, so that change tracking sees it."""
        content = folder / "change"
        with subprocess.Popen(["qemu-io", "-f", "raw", self.uri], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as io:
            # One file per change, named in one script: qemu-io reads it when the command comes.
            for number, (offset, data) in enumerate(changes):
                pathlib.Path(f"{content}{number}").write_bytes(data)
                io.stdin.write(f"write -q -s {content}{number} {offset} {len(data)}\n".encode())
            io.stdin.write(b"flush\nquit\n")
            io.stdin.close()
        for number in range(len(changes)):
            os.unlink(f"{content}{number}")
        if io.returncode:
            raise RuntimeError("qemu-io failed to write the changes")

    def end(self) -> None:
        end(self.process)


def peak_mib(pid: int) -> float:
    """The most memory that a process has had so far; 0 when it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) / 1024 if found else 0


class PeakWatch(threading.Thread):
    """Looks at a command's memory until it ends. What wait4 says of it would count this process's memory too, because
    the command began as a copy of it."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, peak_mib(self.pid))


def run_peer(server, command: list[str], environment: dict | None = None) -> Measure:
    """Runs a command to its end and measures it together with what it cost the server that it asks: a source, or the
    service."""
    os.sync()
    before = cpu_of(server.process.pid)
    begin = time.monotonic()
    peer = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    watch = PeakWatch(peer.pid)
    _, status, usage = os.wait4(peer.pid, 0)
    wall = time.monotonic() - begin
    watch.ended.set()
    peer.returncode = os.waitstatus_to_exitcode(status)
    if peer.returncode:
        raise RuntimeError(f"{command[0]} ended with {peer.returncode}")
    cpu = usage.ru_utime + usage.ru_stime + cpu_of(server.process.pid) - before
    return Measure(wall, cpu, watch.peak)


class Godwit:
    """A service with a fresh data folder."""

    def __init__(self, binary: str, folder: pathlib.Path, source: Source):
        self.binary, self.source, self.data = binary, source, folder / "data"
        self.log = folder / "godwit.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", str(self.data), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=log
            )
        self.job = self.image = None

    def ready(self) -> None:
        """Waits until it listens, and tells it of the source."""
        hidden = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
        self.environment = {k: v for k, v in os.environ.items() if k not in hidden}
        self.environment["GODWIT_ENDPOINT"] = self._address()
        self.environment["AWS_SHARED_CREDENTIALS_FILE"] = str(self.data / "credentials")
        self.ask("connectors", "add", "qmp", "--name", "bench", "--socket", str(self.source.qmp))
        self.ask("servers", "import")

    def _address(self) -> str:
        bound = time.monotonic() + 30
        said = b""
        while time.monotonic() < bound:
            if select.select([self.process.stdout], [], [], 1)[0]:
                said += os.read(self.process.stdout.fileno(), 4096)
                found = re.search(rb"http://[0-9.:]+", said)
                if found:
                    return found.group().decode()
            if self.process.poll() is not None:
                break
        raise RuntimeError("godwit serve did not say where it listens")

    def ask(self, *arguments: str):
        done = subprocess.run([self.binary, *arguments, "--json"], env=self.environment, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"godwit {' '.join(arguments)}: {done.stderr.decode()}")
        return json.loads(done.stdout or b"null")

    def replicate(self) -> Measure:
        """The whole job once: the first time everything, after that what changed. Time is the run's own record of it."""
        os.sync()
        before = cpu_of(self.process.pid) + cpu_of(self.source.process.pid)
        if self.job is None:
            server = self.ask("servers", "list")[0]["server_id"]
            self.job = self.ask("jobs", "create", "--server", server, "--every", "12h")["job_id"]
            run = self._begun()
        else:
            run = self.ask("runs", "start", self.job)["run_id"]
        record = self._ended(run)
        cpu = cpu_of(self.process.pid) + cpu_of(self.source.process.pid) - before
        self.image, volumes = record["image_id"], record["volumes"]
        return Measure(
            record["completed_time"] - record["started_on"],
            cpu,
            peak_mib(self.process.pid),
            sum(v["bytes_stored"] for v in volumes),
            sum(v["bytes_read"] for v in volumes),
            self._verification(run),
        )

    def _verification(self, run: str) -> float:
        """How long the run's verification took, by the service's log of its stages."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
        begun = re.findall(rf"^(\S+Z)\s.*begin stage run={run} stage=\"?(\w+)", plain, re.M)
        at = {stage.upper(): datetime.datetime.fromisoformat(time.replace("Z", "+00:00")) for time, stage in begun}
        return (at["REGISTERING"] - at["VERIFYING"]).total_seconds()

    def export(self, file: pathlib.Path) -> Measure:
        """The newest image's only volume as a raw file."""
        command = [self.binary, "images", "export", self.image, "--volume", "0", "--format", "raw", "--output", str(file)]
        return run_peer(self, command, self.environment)

    def _begun(self) -> str:
        bound = time.monotonic() + 60
        while time.monotonic() < bound:
            runs = [r for r in self.ask("runs", "list", "--job", self.job) if r["state"] != "PENDING"]
            if runs:
                return runs[0]["run_id"]
            time.sleep(0.2)
        raise RuntimeError("the first run does not begin")

    def _ended(self, run: str) -> dict:
        bound = time.monotonic() + RUN_BOUND
        while time.monotonic() < bound:
            record = self.ask("runs", "show", run)
            if record["state"] not in ("PENDING", "ACTIVE"):
                if record["state"] != "COMPLETED":
                    raise RuntimeError(f"the run did not complete: {json.dumps(record)}")
                return record
            # Rarely: asking costs CPU on a machine of two cores.
            time.sleep(0.5)
        raise RuntimeError(f"run {run} does not end")

    def end(self) -> None:
        end(self.process)
