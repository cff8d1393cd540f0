#!/usr/bin/env python3
"""Drives a Godwit with awscli 1.42.30 as it comes, from PATH. Needs what boto3_flow.py needs; with GODWIT_WAIT_RUN=1 it
lets one run end. It leaves the service without a live job and without a connector."""

import datetime
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True

from checks import ENDPOINT, REGION, RUN_BOUND, WAIT_RUN, check, equal, finish, wait


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


def refused(name, error, *arguments):
    code, answer, said = aws(*arguments)
    check(name, code == 255 and f"({error})" in said, f"exit {code}: {answer} {said}")


def hence(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def available():
    _, answer, _ = aws("get-servers", "--no-paginate")
    return answer if answer and answer["serverCatalogStatus"] == "AVAILABLE" else None


def job_of(job):
    return aws("get-replication-jobs", "--replication-job-id", job)[1]["replicationJobList"][0]


def flow():
    connector = works("get-connectors", "get-connectors")["connectorList"][0]["connectorId"]
    equal("import-server-catalog prints nothing", works("import-server-catalog", "import-server-catalog"), None)
    servers = wait("the catalog becomes available", 90, available)["serverList"]
    server = servers[0]["serverId"]
    equal("the CLI pages by itself", works("get-servers", "get-servers", "--page-size", "1")["serverList"], servers)
    some = works("get-servers --max-items", "get-servers", "--max-items", "1")
    equal("--max-items cuts", len(some["serverList"]), 1)
    address = servers[0]["vmServer"]["vmServerAddress"]
    given = f"vmManagerId={address['vmManagerId']},vmId={address['vmId']}"
    found = works("get-servers by address", "get-servers", "--vm-server-address-list", given)
    equal("a server is found by its address", [s["serverId"] for s in found["serverList"]], [server])

    create = ("create-replication-job", "--seed-replication-time")
    invalid, missing = "InvalidParameterException", "MissingRequiredParameterException"
    often = ("--frequency", "12")
    refused("an unknown server", invalid, *create, hence(hours=1), "--server-id", "s-00000000", *often)
    refused("a start too far ahead", invalid, *create, hence(days=31), "--server-id", server, *often)
    refused("an interval out of range", invalid, *create, hence(hours=1), "--server-id", server, "--frequency", "25")
    refused("interval and one-time", invalid, *create, hence(hours=1), "--server-id", server, *often, "--run-once")
    refused("neither of them", missing, *create, hence(hours=1), "--server-id", server)
    refused("a wrong licence", invalid, *create, hence(hours=1), "--server-id", server, *often, "--license-type", "A")
    nobody = ("--replication-job-id", "sms-job-00000000")
    refused("an unknown job", "ReplicationJobNotFoundException", "delete-replication-job", *nobody)
    refused("runs of an unknown job", invalid, "get-replication-runs", *nobody)
    refused("what does not work yet", "UnknownOperationException", "create-app")
    refused("what does not work yet, too", "UnknownOperationException", "list-apps")

    start = hence(hours=-1) if WAIT_RUN else hence(days=7)
    more = ("--description", "by the aws cli", "--license-type", "BYOL", "--no-encrypted")
    job = works("create-replication-job", *create, start, "--server-id", server, *often, *more)["replicationJobId"]
    exists = "ReplicationJobAlreadyExistsException"
    refused("a second live job", exists, *create, hence(hours=1), "--server-id", server, *often)
    shown = job_of(job)
    found = (shown["description"], shown["licenseType"], shown["encrypted"])
    equal("the job is as created", found, ("by the aws cli", "BYOL", False))
    works("update-replication-job", "update-replication-job", "--replication-job-id", job, "--frequency", "6")
    equal("the job is changed", job_of(job)["frequency"], 6)
    runs = ("get-replication-runs", "--replication-job-id", job)
    check("get-replication-runs lists", isinstance(works("get-replication-runs", *runs)["replicationRunList"], list))
    both = works("get-replication-runs --no-paginate", *runs, "--no-paginate")
    equal("without paging the job is there", both["replicationJob"]["replicationJobId"], job)
    if WAIT_RUN:
        done = lambda: [r for r in aws(*runs)[1]["replicationRunList"] if r["state"] in ("COMPLETED", "FAILED")]
        first = wait("the first run ends", RUN_BOUND, done)[-1]
        equal("it is completed", first["state"], "COMPLETED")
        equal("the job names its image", job_of(job)["latestAmiId"], first["amiId"])
        start = "start-on-demand-replication-run"
        extra = works(start, start, "--replication-job-id", job)["replicationRunId"]
        wait("the extra run ends", RUN_BOUND, lambda: extra in [r["replicationRunId"] for r in done()])

    works("delete-replication-job", "delete-replication-job", "--replication-job-id", job)
    wait("the job is deleted", 90, lambda: job_of(job)["state"] == "DELETED")
    works("delete-server-catalog", "delete-server-catalog")
    status = works("get-servers --no-paginate", "get-servers", "--no-paginate")["serverCatalogStatus"]
    equal("the catalog is emptied", status, "DELETED")
    works("disassociate-connector", "disassociate-connector", "--connector-id", connector)
    left = works("get-connectors", "get-connectors")["connectorList"]
    check("the connector is gone", connector not in [c["connectorId"] for c in left], left)
    if not left:
        refused("no connector, no import", "NoConnectorsAvailableException", "import-server-catalog")


finish(flow)
