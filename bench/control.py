"""The decision line with ten thousand jobs: what a look of the driver, a page of the API and an import cost.

A database is filled through SQL as months of work would have left it. Pages are asked for over loopback from a real
`godwit serve`, signed, on one connection that stays open; times are from the request's first byte to the answer's last.
Looks and imports are measured inside (crates/control/examples/costs.rs). The peer of each is Python's own sqlite3
module on the same file: it reads or writes the same rows, and makes nothing of them.
"""

import configparser
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import select
import sqlite3
import statistics
import subprocess
import tempfile
import time

JOBS, SERVERS, RUNS = 10_000, 20_000, 20
MINUTE, DAY = 60_000, 86_400_000
PAGE, MOST_JOBS, LONGEST = 50, 100, 1_000
TIMES = 40
CONNECTOR = "c-0000000000000beef"
TARGET = "AWSServerMigrationService_V2016_10_24."


class Service:
    """`godwit serve` over a data folder, and one signed connection to it."""

    def __init__(self, binary: str, data: pathlib.Path):
        self.data = data
        with open(data.with_suffix(".log"), "ab") as log:
            command = [binary, "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        self.host = self._address()
        self.connection = http.client.HTTPConnection(self.host, timeout=60)
        file = configparser.ConfigParser()
        file.read(data / "credentials", encoding="utf-8")
        self.key, self.secret = (file["default"][f"aws_{name}"] for name in ("access_key_id", "secret_access_key"))

    def _address(self) -> str:
        said, bound = b"", time.monotonic() + 60
        while time.monotonic() < bound and self.process.poll() is None:
            if select.select([self.process.stdout], [], [], 1)[0]:
                said += os.read(self.process.stdout.fileno(), 4096)
                if found := re.search(rb"http://([0-9.]+:\d+)", said):
                    return found.group(1).decode()
        raise RuntimeError("godwit serve did not say where it listens")

    def headers(self, operation: str, body: bytes) -> dict[str, str]:
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {"content-type": "application/x-amz-json-1.1", "host": self.host, "x-amz-date": stamp}
        headers["x-amz-target"] = TARGET + operation
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = "\n".join(["POST", "/", "", lines, ";".join(headers), hashlib.sha256(body).hexdigest()])
        scope = f"{stamp[:8]}/us-east-1/sms/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in [*scope.split("/"), text]:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        named = f"Credential={self.key}/{scope}, SignedHeaders={';'.join(headers)}, Signature={key.hex()}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {named}"}

    def ask(self, operation: str, **members) -> tuple[dict, float]:
        """The answer, and how many milliseconds it took."""
        body = json.dumps(members).encode()
        headers = self.headers(operation, body)
        begin = time.perf_counter()
        self.connection.request("POST", "/", body, headers)
        answer = self.connection.getresponse()
        raw = answer.read()
        spent = (time.perf_counter() - begin) * 1e3
        if answer.status != 200:
            raise RuntimeError(f"{operation}: {raw.decode()}")
        return json.loads(raw), spent

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def insert(database: sqlite3.Connection, table: str, columns: str, rows) -> None:
    places = ", ".join("?" * len(columns.split(",")))
    database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)


def fill(file: pathlib.Path, now: int) -> None:
    """Servers, jobs every hour whose next run is listed ahead, their ended runs, and the images of the newest ones."""
    database = sqlite3.connect(file)
    config = json.dumps({"type": "QMP", "socket": "/nowhere/qmp.sock"})
    insert(database, "connector", "connector_id, name, config, status, manager_id, manager_name, manager_version, "
           "associated_at, last_contact_at", [(CONNECTOR, "many", config, "HEALTHY", "m", "a manager", "10", now, now)])
    database.execute("UPDATE catalog SET status = 'AVAILABLE', status_before = 'AVAILABLE', import_number = 1, "
                     "modified_at = ?", [now])
    disks = json.dumps([{"device": "virtio0", "size": 1 << 34}])
    columns = "server_id, manager_id, vm_id, connector_id, manager_name, name, path, volumes, listed, import_number, created_at"
    insert(database, "server", columns, ((f"s-{n:08x}", "m", f"vm{n}", CONNECTOR, "a manager", f"web{n}", f"/web{n}", disks,
                                          1, 1, now) for n in range(SERVERS)))
    columns = ("job_id, server_id, state, start_at, interval_minutes, role_name, description, keep_images, created_at, "
               "seed_at, state_since, fence")
    begin = lambda n: now - DAY - n * 10
    insert(database, "job", columns, ((f"sms-job-{n:08x}", f"s-{n:08x}", "ACTIVE", begin(n), 60, "sms", "every hour", 3,
                                       begin(n), begin(n), begin(n), 40) for n in range(JOBS)))
    columns = "run_id, job_id, state, stage, abandoning, kind, scheduled_at, started_at, completed_at, image_id, notes, fence"
    ended = lambda n, m: now - (RUNS - m) * 60 * MINUTE + n
    insert(database, "run", columns, ((run_id(n, m), f"sms-job-{n:08x}", "COMPLETED", None, 0, "AUTOMATIC", ended(n, m),
                                       ended(n, m), ended(n, m) + MINUTE, image_id(n, m), "[]", 9)
                                      for n in range(JOBS) for m in range(RUNS)))
    insert(database, "run", columns, ((run_id(n, RUNS), f"sms-job-{n:08x}", "PENDING", None, 0, "AUTOMATIC",
                                       now + 30 * MINUTE + n, None, None, None, "[]", 0) for n in range(JOBS)))
    figures = ["bytes_total", "bytes_done", "bytes_read", "bytes_sent", "bytes_stored", "bytes_resent", "bytes_verified"]
    columns = "run_id, device, place, snapshot_id, tracked, notes, root_digest, " + ", ".join(figures)
    insert(database, "run_volume", columns, ((run_id(n, m), "virtio0", 0, snapshot_id(n, m), 1, "[]", "0" * 64, *[1 << 30] * 7)
                                             for n in range(JOBS) for m in range(RUNS)))
    columns = "image_id, number, job_id, run_id, server_id, server_name, description, size, created_at, deleting"
    kept = [(n, m) for n in range(JOBS) for m in range(RUNS - 3, RUNS)]
    insert(database, "image", columns, ((image_id(n, m), m * JOBS + n, f"sms-job-{n:08x}", run_id(n, m), f"s-{n:08x}",
                                         f"web{n}", "", 1 << 34, ended(n, m), 0) for n, m in kept))
    columns = "snapshot_id, image_id, run_id, server_id, device, size, root_digest, created_at, bytes_stored"
    insert(database, "snapshot", columns, ((snapshot_id(n, m), image_id(n, m), run_id(n, m), f"s-{n:08x}", "virtio0", 1 << 34,
                                            "0" * 64, ended(n, m), 1) for n, m in kept))
    insert(database, "baseline", "job_id, device, run_id, snapshot_id, size",
           ((f"sms-job-{n:08x}", "virtio0", run_id(n, RUNS - 1), snapshot_id(n, RUNS - 1), 1 << 34) for n in range(JOBS)))
    database.commit()
    database.close()


def run_id(n: int, m: int) -> str:
    return f"sms-run-{n * 100 + m:08x}"


def image_id(n: int, m: int) -> str:
    return f"ami-{n * 100 + m:017x}"


def snapshot_id(n: int, m: int) -> str:
    return f"snap-{n * 100 + m:017x}"


def of_times(call) -> float:
    """Median of what `call` says it took; the first ones warm up."""
    return statistics.median([call() for _ in range(TIMES + 5)][5:])


def timed(work) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def rows_of(database: sqlite3.Connection, *statements) -> float:
    return of_times(lambda: timed(lambda: [database.execute(sql, values).fetchall() for sql, values in statements]))


def token_at(service: Service, operation: str, items: str, skip: int, **members) -> str | None:
    """The token of the page that begins behind `skip` items."""
    token = None
    while skip:
        more = {"nextToken": token} if token else {}
        answer, _ = service.ask(operation, maxResults=min(skip, LONGEST), **more, **members)
        token = answer["nextToken"]
        skip -= len(answer[items])
    return token


def page(service: Service, operation: str, items: str, skip: int, size: int, **members) -> float:
    token = token_at(service, operation, items, skip, **members)
    members = {**members, "maxResults": size, **({"nextToken": token} if token else {})}
    found, _ = service.ask(operation, **members)
    if len(found[items]) != size:
        raise RuntimeError(f"{operation}: {len(found[items])} items instead of {size}")
    return of_times(lambda: service.ask(operation, **members)[1])


JOB_ROWS = (
    "SELECT * FROM job JOIN server ON server.server_id = job.server_id JOIN run ON run.run_id = (SELECT r.run_id FROM run r "
    "WHERE r.job_id = job.job_id AND r.completed_at IS NOT NULL ORDER BY r.completed_at DESC LIMIT 1) "
    "JOIN run_volume ON run_volume.run_id = run.run_id ORDER BY job.created_at DESC, job.job_id DESC LIMIT ? OFFSET ?"
)
RUN_ROWS = ("SELECT * FROM run JOIN run_volume ON run_volume.run_id = run.run_id WHERE run.job_id = ? "
            "ORDER BY run.scheduled_at DESC LIMIT ?")
SERVER_ROWS = ("SELECT * FROM server LEFT JOIN job ON job.server_id = server.server_id WHERE server.listed = 1 "
               "ORDER BY server.server_id LIMIT ? OFFSET ?")


def pages(service: Service, database: sqlite3.Connection):
    """Cases of the API: what, milliseconds, those of the peer, and what is wanted."""
    jobs = ("GetReplicationJobs", "replicationJobList")
    for where, skip in [("first", 0), ("middle", JOBS // 2), ("last", JOBS - PAGE)]:
        peer = rows_of(database, (JOB_ROWS, (PAGE, skip)))
        yield f"GetReplicationJobs, {where} {PAGE}", page(service, *jobs, skip, PAGE), peer, 10
    peer = rows_of(database, (JOB_ROWS, (MOST_JOBS, 0)))
    yield f"GetReplicationJobs, first {MOST_JOBS}", page(service, *jobs, 0, MOST_JOBS), peer, 10
    one = f"sms-job-{JOBS // 2:08x}"
    peer = rows_of(database, (RUN_ROWS, (one, RUNS + 1)))
    yield f"GetReplicationRuns, {RUNS + 1}", page(service, "GetReplicationRuns", "replicationRunList", 0, RUNS + 1,
                                                  replicationJobId=one), peer, 10
    servers = ("GetServers", "serverList")
    for where, skip in [("first", 0), ("middle", SERVERS // 2), ("last", SERVERS - PAGE)]:
        peer = rows_of(database, (SERVER_ROWS, (PAGE, skip)))
        yield f"GetServers, {where} {PAGE}", page(service, *servers, skip, PAGE), peer, 10
    peer = rows_of(database, (SERVER_ROWS, (LONGEST, 0)))
    yield f"GetServers, first {LONGEST:,}", page(service, *servers, 0, LONGEST), peer, None
    some = [f"vm{n}" for n in range(0, SERVERS, SERVERS // PAGE)]
    by_address = f"SELECT * FROM server WHERE manager_id = 'm' AND vm_id IN ({', '.join('?' * len(some))})"
    addresses = [{"vmManagerId": "m", "vmId": vm} for vm in some]
    yield (f"GetServers by {PAGE} addresses", page(service, *servers, 0, PAGE, vmServerAddressList=addresses),
           rows_of(database, (by_address, some)), 10)


def costs(arguments, what: str, file: pathlib.Path, now: int, times: int, *more: int) -> dict:
    command = [arguments.costs, what, str(file), str(now), str(times), *map(str, more)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def looks(arguments, file: pathlib.Path, now: int, database: sqlite3.Connection):
    """Looks when nothing is due, and when a hundred jobs are due at once."""
    everything = rows_of(database, ("SELECT * FROM job WHERE state IN ('PENDING', 'ACTIVE')", ()),
                         ("SELECT * FROM run WHERE state IN ('PENDING', 'ACTIVE', 'DELETING')", ()))
    for name, at in [("nothing due", now), ("100 jobs due", now + 30 * MINUTE + 99), ("all jobs due", now + 40 * MINUTE)]:
        said = costs(arguments, "look", file, at, TIMES + 5)
        yield f"a look of the driver, {name}", statistics.median(said["milliseconds"][5:]), everything, 50


def imports(arguments, file: pathlib.Path, now: int, folder: pathlib.Path):
    """The peer writes the same rows in one transaction with as much care for the disk."""
    spent = costs(arguments, "import", file, now, 4, SERVERS)["milliseconds"]
    peer = sqlite3.connect(folder / "peer.db")
    peer.execute("PRAGMA journal_mode = WAL")
    peer.execute("PRAGMA synchronous = FULL")
    peer.execute("CREATE TABLE server (id TEXT PRIMARY KEY, manager TEXT, vm TEXT, name TEXT, path TEXT, disks TEXT, number "
                 "BIGINT, UNIQUE (manager, vm))")
    peer.execute("CREATE INDEX by_vm ON server (vm)")

    def write(number: int) -> None:
        rows = ((f"s-{number}-{n:08x}", "m", f"vm{n}", f"web{n}", f"/web{n}", "[]", number) for n in range(SERVERS))
        peer.executemany("INSERT INTO server VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (manager, vm) DO UPDATE SET "
                         "name = excluded.name, path = excluded.path, disks = excluded.disks, number = excluded.number", rows)
        peer.commit()

    first, *again = [timed(lambda: write(number)) for number in range(4)]
    peer.close()
    yield f"import of {SERVERS:,} servers, all new", spent[0], first, None
    yield f"import of {SERVERS:,} servers, all known", statistics.median(spent[1:]), statistics.median(again), None


def measure(arguments) -> list[dict]:
    """All cases, as rows for `print_table`."""
    now = int(time.time() * 1000)
    with tempfile.TemporaryDirectory(prefix="control", dir=arguments.cache) as name:
        folder = pathlib.Path(name)
        data = folder / "data"
        # The service makes its database; then it is filled.
        Service(arguments.godwit, data).end()
        file = data / "state.db"
        fill(file, now)
        database = sqlite3.connect(file)
        cases = list(looks(arguments, file, now, database))
        service = Service(arguments.godwit, data)
        try:
            cases += pages(service, database)
        finally:
            service.end()
        database.close()
        cases += imports(arguments, file, now, folder)
    return [{"case": case, "ms": ms, "peer_ms": peer, "to_peer": ms / peer, "wanted_ms": wanted}
            for case, ms, peer, wanted in cases]


def print_table(rows: list[dict]) -> None:
    print(f"\n{JOBS:,} jobs with {RUNS} runs each, {SERVERS:,} servers; peer: Python's sqlite3, the same rows")
    print(f"{'case':42} {'ms':>8} {'peer ms':>8} {'÷ peer':>7} {'wanted':>7}")
    for row in rows:
        wanted = "–" if row["wanted_ms"] is None else f"< {row['wanted_ms']}"
        wanted += " !" if row["wanted_ms"] and row["ms"] >= row["wanted_ms"] else ""
        print(f"{row['case']:42} {row['ms']:8.2f} {row['peer_ms']:8.2f} {row['to_peer']:7.2f} {wanted:>7}")
