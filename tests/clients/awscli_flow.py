#!/usr/bin/env python3
"""Drives a Godwit with awscli 1.42.30 as it comes, from PATH. Needs what boto3_flow.py needs. It lets three
runs end, and leaves the service without a live job and without a connector."""

import base64
import concurrent.futures
import datetime
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True

from checks import ENDPOINT, REGION, RUN_BOUND, check, equal, finish, wait


def aws(*arguments):
    """Runs `aws sms …`; exit code, standard output read as JSON if there is any, standard error."""
    command = ["aws", "sms", *arguments, "--endpoint-url", ENDPOINT, "--region", REGION, "--output", "json"]
    environment = {**os.environ, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def works(name, *arguments):
    code, answer, said = aws(*arguments)
    check(name, code == 0, said)
    return answer


def at_once(call, cases):
    """`call` with each case's arguments; most of a call is the CLI's own start, so several run at the same time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return [done.result() for done in [pool.submit(call, *case) for case in cases]]


def refused(*cases):
    """Each case has a name, the error that is wanted and the arguments."""
    for (name, error, *_), (code, answer, said) in zip(cases, at_once(aws, [case[2:] for case in cases])):
        check(name, code == 255 and f"({error})" in said, f"exit {code}: {answer} {said}")


def hence(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def available():
    _, answer, _ = aws("get-servers", "--no-paginate")
    return answer if answer and answer["serverCatalogStatus"] == "AVAILABLE" else None


def job_of(job):
    return aws("get-replication-jobs", "--replication-job-id", job)[1]["replicationJobList"][0]


def turned(operation, *arguments):
    """A list as the CLI gives it with pages of one, the requests that this took, and its first item with the rest."""
    _, paged, said = aws(operation, *arguments, "--page-size", "1", "--debug")
    first = aws(operation, *arguments, "--page-size", "1", "--max-items", "1")[1]
    rest = aws(operation, *arguments, "--starting-token", first["NextToken"])[1]
    return paged, said.count("Sending http request"), first, rest


def in_pages(lists):
    """Every item of each list comes exactly once; `lists` has operation, member, key, known ids, more arguments."""
    turning = at_once(turned, [(operation, *more) for operation, _, _, _, *more in lists])
    for (operation, members, item_id, known, *_), (paged, requests, first, rest) in zip(lists, turning):
        ids = lambda answer: [item[item_id] for item in answer[members]]
        check(f"{operation}: there is more than a page of one", len(known) >= 2, known)
        equal(f"{operation} --page-size 1 gives every item once", sorted(ids(paged)), sorted(known))
        equal(f"{operation} --page-size 1 asks once for each item", requests, len(known))
        token = json.loads(base64.b64decode(first["NextToken"]))
        check(f"{operation}: the next token holds the service's", token.get("nextToken"), token)
        wanted = (ids(paged)[:1], ids(paged)[1:])
        equal(f"{operation} --starting-token goes on behind --max-items 1", (ids(first), ids(rest)), wanted)


def its_runs(job, runs):
    """The first run of a job and the two that it may have on demand; `runs` are the arguments that list them."""
    done = lambda: [r for r in aws(*runs)[1]["replicationRunList"] if r["state"] in ("COMPLETED", "FAILED")]
    first = wait("the first run ends", RUN_BOUND, done)[-1]
    equal("it is completed", first["state"], "COMPLETED")
    equal("the job names its image", job_of(job)["latestAmiId"], first["amiId"])
    start = "start-on-demand-replication-run"
    for n in ("first", "second"):
        extra = works(f"the {n} {start}", start, "--replication-job-id", job)["replicationRunId"]
        wait(f"the {n} extra run ends", RUN_BOUND, lambda: extra in [r["replicationRunId"] for r in done()])
    refused(("a third extra run", "ReplicationRunLimitExceededException", start, "--replication-job-id", job))


def each_change_alone(job):
    """Each option changes its member and what goes with it, and nothing else of a job that rests."""
    at = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=3)
    changes = [
        (("--role-name", "other"), {"roleName": "other"}),
        (("--license-type", "AWS"), {"licenseType": "AWS"}),
        (("--encrypted",), {"encrypted": True}),
        (("--kms-key-id", "alias/flows"), {"kmsKeyId": "alias/flows"}),
        (("--next-replication-run-start-time", at.isoformat()), {"nextReplicationRunStartTime": at.timestamp()}),
    ]
    # The run that is listed ahead moves with the schedule.
    lasting = lambda job: {name: value for name, value in job.items() if name != "replicationRunList"}
    shown = job_of(job)
    for options, change in changes:
        wanted = {**shown, **change}
        check(f"{options[0]} is a change", wanted != shown, shown)
        works(f"update-replication-job {options[0]}", "update-replication-job", "--replication-job-id", job, *options)
        shown = job_of(job)
        equal(f"{options[0]} changes that, the rest stays", lasting(shown), lasting(wanted))


def flow():
    connectors = [c["connectorId"] for c in works("get-connectors", "get-connectors")["connectorList"]]
    equal("import-server-catalog prints nothing", works("import-server-catalog", "import-server-catalog"), None)
    servers = wait("the catalog becomes available", 90, available)["serverList"]
    server, other = (s["serverId"] for s in servers[:2])
    address = servers[0]["vmServer"]["vmServerAddress"]
    given = f"vmManagerId={address['vmManagerId']},vmId={address['vmId']}"
    found = works("get-servers by address", "get-servers", "--vm-server-address-list", given)
    equal("a server is found by its address", [s["serverId"] for s in found["serverList"]], [server])

    create = ("create-replication-job", "--seed-replication-time")
    invalid, missing = "InvalidParameterException", "MissingRequiredParameterException"
    often = ("--frequency", "12")
    soon = (*create, hence(hours=1), "--server-id")
    nobody = ("--replication-job-id", "sms-job-00000000")
    refused(
        ("an unknown server", invalid, *soon, "s-00000000", *often),
        ("a start too far ahead", invalid, *create, hence(days=31), "--server-id", server, *often),
        ("an interval out of range", invalid, *soon, server, "--frequency", "25"),
        ("interval and one-time", invalid, *soon, server, *often, "--run-once"),
        ("neither of them", missing, *soon, server),
        ("a wrong licence", invalid, *soon, server, *often, "--license-type", "A"),
        ("an unknown job", "ReplicationJobNotFoundException", "delete-replication-job", *nobody),
        ("runs of an unknown job", invalid, "get-replication-runs", *nobody),
        ("what does not work yet", "UnknownOperationException", "create-app"),
        ("what does not work yet, too", "UnknownOperationException", "list-apps"),
    )

    more = ("--description", "by the aws cli", "--license-type", "BYOL", "--no-encrypted", "--role-name", "mover")
    more = (*more, "--number-of-recent-amis-to-keep", "9", "--no-run-once")
    job = works("create-replication-job", *create, hence(hours=-1), "--server-id", server, *often, *more)["replicationJobId"]
    second = works("create-replication-job", *create, hence(days=7), "--server-id", other, "--run-once")
    second = second["replicationJobId"]
    refused(("a second live job", "ReplicationJobAlreadyExistsException", *soon, server, *often))
    shown = job_of(job)
    wanted = {"description": "by the aws cli", "licenseType": "BYOL", "encrypted": False, "roleName": "mover"}
    wanted = {**wanted, "numberOfRecentAmisToKeep": 9, "runOnce": False, "frequency": 12, "serverId": server}
    equal("the job is as created", {name: shown.get(name) for name in wanted}, wanted)
    works("update-replication-job", "update-replication-job", "--replication-job-id", job, "--frequency", "6")
    shown = job_of(job)
    equal("what was changed is changed, the rest is not", {name: shown.get(name) for name in wanted}, {**wanted, "frequency": 6})
    runs = ("get-replication-runs", "--replication-job-id", job)
    both = works("get-replication-runs --no-paginate", *runs, "--no-paginate")
    equal("without paging the job is there", both["replicationJob"]["replicationJobId"], job)
    its_runs(job, runs)
    each_change_alone(job)

    jobs = [j["replicationJobId"] for j in works("all jobs", "get-replication-jobs")["replicationJobList"]]
    lists = [
        ("get-connectors", "connectorList", "connectorId", connectors),
        ("get-servers", "serverList", "serverId", [s["serverId"] for s in servers]),
        ("get-replication-jobs", "replicationJobList", "replicationJobId", jobs),
    ]
    all_runs = [r["replicationRunId"] for r in works("all runs", *runs)["replicationRunList"]]
    lists.append((runs[0], "replicationRunList", "replicationRunId", all_runs, *runs[1:]))
    in_pages(lists)

    for each in (job, second):
        works("delete-replication-job", "delete-replication-job", "--replication-job-id", each)
    for each in (job, second):
        wait("the job is deleted", 90, lambda: job_of(each)["state"] == "DELETED")
    barred = "OperationNotPermittedException"
    refused(("a deleted job", barred, "update-replication-job", "--replication-job-id", job, "--frequency", "6"))
    works("delete-server-catalog", "delete-server-catalog")
    status = works("get-servers --no-paginate", "get-servers", "--no-paginate")["serverCatalogStatus"]
    equal("the catalog is emptied", status, "DELETED")
    for connector in connectors:
        works("disassociate-connector", "disassociate-connector", "--connector-id", connector)
    equal("the connectors are gone", works("get-connectors", "get-connectors")["connectorList"], [])
    refused(("no connector, no import", "NoConnectorsAvailableException", "import-server-catalog"))


finish(flow)
