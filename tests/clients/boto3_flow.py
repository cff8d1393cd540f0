#!/usr/bin/env python3
"""Drives a Godwit with boto3 1.40.30 as it comes: every SMS operation that works, and every refusal that matters.

Needs AWS_ENDPOINT_URL_SMS (or GODWIT_ENDPOINT) and AWS_SHARED_CREDENTIALS_FILE, and a service with at least two
associated connectors that offer at least three servers, none of which has a job, with the roles `mover` and `other` and
the key `alias/flows`. It lets four runs end, and leaves the service without a live job and without a connector.
"""

import datetime
import re
import sys

sys.dont_write_bytecode = True

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import ENDPOINT, REGION, RUN_BOUND, check, equal, finish, keys, wait

APP = "app-0123456789abcdef0"
NOBODY = "sms-job-00000000"
LATER = [
    "create_app", "delete_app", "delete_app_launch_configuration", "delete_app_replication_configuration",
    "delete_app_validation_configuration", "generate_change_set", "generate_template", "get_app",
    "get_app_launch_configuration", "get_app_replication_configuration", "get_app_validation_configuration",
    "get_app_validation_output", "import_app_catalog", "launch_app", "list_apps", "notify_app_validation_output",
    "put_app_launch_configuration", "put_app_replication_configuration", "put_app_validation_configuration",
    "start_app_replication", "start_on_demand_app_replication", "stop_app_replication", "terminate_app", "update_app",
]


def client(key=None, secret=None, token=None):
    known = keys()
    return boto3.client(
        "sms",
        endpoint_url=ENDPOINT,
        region_name=REGION,
        aws_access_key_id=key or known[0],
        aws_secret_access_key=secret or known[1],
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0}, read_timeout=120),
    )


sms = client()


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def refused(name, error, call, **parameters):
    """The call ends with the modelled exception `error`, by class."""
    try:
        answer = call(**parameters)
        check(name, False, f"it was answered: {answer}")
    except getattr(sms.exceptions, error) as raised:
        said = raised.response["Error"]["Message"]
        check(name, len(said) > 10, f"its message says nothing: {said!r}")
    except ClientError as raised:
        check(name, False, f"wanted {error}, got {raised}")


def code_of(call, **parameters):
    try:
        call(**parameters)
        return "it was answered"
    except ClientError as raised:
        return raised.response["Error"]["Code"]


def catalog_available():
    answer = sms.get_servers()
    return answer if answer["serverCatalogStatus"] == "AVAILABLE" else None


def in_pages(operation, members, item_id, **parameters):
    """Every item of a list comes exactly once, in the list's order, however it is cut into pages."""
    call, paginator = getattr(sms, operation), sms.get_paginator(operation)
    ids = lambda answer: [item[item_id] for item in answer[members]]
    whole = ids(call(**parameters))
    once = len(set(whole)) == len(whole) >= 2
    if not check(f"{operation}: there is more than a page of one, and nothing twice", once, whole):
        return
    for size in (1, 2):
        pages = list(paginator.paginate(**parameters, PaginationConfig={"PageSize": size}))
        wanted = [whole[n : n + size] for n in range(0, len(whole), size)]
        equal(f"{operation}: pages of {size}", [ids(page) for page in pages], wanted)
        more = [bool(page.get("nextToken")) for page in pages]
        equal(f"{operation}: all pages of {size} but the last have a token", more, [True] * (len(wanted) - 1) + [False])
    some = {"PageSize": 1, "MaxItems": 1}
    first = paginator.paginate(**parameters, PaginationConfig=some).build_full_result()
    rest = paginator.paginate(**parameters, PaginationConfig={"StartingToken": first.get("NextToken")})
    found = (ids(first), ids(rest.build_full_result()))
    equal(f"{operation}: a token goes on behind the first item", found, (whole[:1], whole[1:]))


def connectors():
    answer = sms.get_connectors()
    equal("GetConnectors answers 200", answer["ResponseMetadata"]["HTTPStatusCode"], 200)
    check("every answer has a request id", len(answer["ResponseMetadata"]["RequestId"]) > 8, answer)
    found = answer["connectorList"]
    connector = found[0]
    check("its id has the known form", re.fullmatch(r"c-[0-9a-f]{17}", connector["connectorId"]), connector)
    equal("it is healthy", connector["status"], "HEALTHY")
    check("it says when it was associated", isinstance(connector["associatedOn"], datetime.datetime), connector)
    check("it names its VM manager", connector["vmManagerId"] and connector["vmManagerName"], connector)
    in_pages("get_connectors", "connectorList", "connectorId")


def catalog():
    before = sms.get_servers()
    check("the catalog has a time", isinstance(before["lastModifiedOn"], datetime.datetime), before)
    sms.import_server_catalog()
    answer = wait("the catalog becomes available", 90, catalog_available)
    servers = answer["serverList"]
    check("servers are in the catalog", len(servers) >= 2, servers)
    server = servers[0]
    check("its id has the known form", re.fullmatch(r"s-[0-9a-f]{8}", server["serverId"]), server)
    equal("it is a virtual machine", server["serverType"], "VIRTUAL_MACHINE")
    check("it has a name", server["vmServer"]["vmName"], server)
    check("it has no job yet", "replicationJobId" not in server, server)

    ids = sorted(s["serverId"] for s in servers)
    in_pages("get_servers", "serverList", "serverId")
    address = server["vmServer"]["vmServerAddress"]
    found = sms.get_servers(vmServerAddressList=[address])["serverList"]
    equal("a server is found by its address", [s["serverId"] for s in found], [server["serverId"]])
    nowhere = [{"vmManagerId": address["vmManagerId"], "vmId": "nothing-here"}]
    equal("an address without a server finds nothing", sms.get_servers(vmServerAddressList=nowhere)["serverList"], [])

    by_address(servers)
    sms.import_server_catalog()
    answer = wait("a second import ends", 90, catalog_available)
    equal("known servers keep their ids", sorted(s["serverId"] for s in answer["serverList"]), ids)
    return [s["serverId"] for s in servers]


def bad_input(server):
    create, soon = sms.create_replication_job, now() + datetime.timedelta(hours=1)
    invalid, missing = "InvalidParameterException", "MissingRequiredParameterException"
    good = {"serverId": server, "seedReplicationTime": soon, "frequency": 12}
    refused("an unknown server is refused", invalid, create, **{**good, "serverId": "s-00000000"})
    refused("a server id of the wrong form is refused", invalid, create, **{**good, "serverId": "nobody"})
    refused("an empty server id is refused", invalid, create, **{**good, "serverId": ""})
    late = now() + datetime.timedelta(days=31)
    refused("a start more than 30 days ahead is refused", invalid, create, **{**good, "seedReplicationTime": late})
    for hours in (0, 25, -1, 2**31 - 1):
        refused(f"an interval of {hours} hours is refused", invalid, create, **{**good, "frequency": hours})
    refused("an interval together with runOnce is refused", invalid, create, **good, runOnce=True)
    refused("neither interval nor runOnce is refused", missing, create, serverId=server, seedReplicationTime=soon)
    refused("a licence type that is none is refused", invalid, create, **good, licenseType="Auto")
    refused("too many images to keep are refused", invalid, create, **good, numberOfRecentAmisToKeep=271)
    refused("a key that nobody knows is refused", invalid, create, **good, encrypted=True, kmsKeyId="alias/x")

    gone = "ReplicationJobNotFoundException"
    refused("an unknown job cannot be changed", gone, sms.update_replication_job, replicationJobId=NOBODY, frequency=2)
    refused("an unknown job cannot be deleted", gone, sms.delete_replication_job, replicationJobId=NOBODY)
    refused("an unknown job has no runs", invalid, sms.get_replication_runs, replicationJobId=NOBODY)
    refused("an unknown job is not shown", invalid, sms.get_replication_jobs, replicationJobId=NOBODY)
    start = sms.start_on_demand_replication_run
    refused("an unknown job cannot be started", invalid, start, replicationJobId=NOBODY)
    refused("an unknown connector stays", invalid, sms.disassociate_connector, connectorId="c-00000000000000000")
    for list_them in (sms.get_servers, sms.get_replication_jobs):
        refused(f"{list_them.__name__} refuses a foreign token", invalid, list_them, nextToken="x")
        refused(f"{list_them.__name__} refuses pages of none", invalid, list_them, maxResults=0)


def identity():
    known = keys()
    wrong = "wrong" + known[1][5:]
    code = code_of(client(secret=wrong).get_connectors)
    equal("a wrong secret is refused", code, "InvalidSignatureException")
    code = code_of(client(key="AKIDNOBODY0000000000").get_connectors)
    equal("an unknown key is refused", code, "UnrecognizedClientException")
    check("a session token does no harm", client(token="tok").get_connectors()["connectorList"])


def later():
    for name in LATER:
        call = getattr(sms, name)
        operation = sms.meta.method_to_api_mapping[name]
        members = sms.meta.service_model.operation_model(operation).input_shape.members
        code = code_of(call, **({"appId": APP} if "appId" in members else {}))
        equal(f"{operation} says that it does not work yet", code, "UnknownOperationException")


def job_of(job):
    return sms.get_replication_jobs(replicationJobId=job)["replicationJobList"][0]


def one_job(server):
    """Creates a job and looks at it from all sides."""
    start = now() - datetime.timedelta(hours=1)
    good = {"serverId": server, "seedReplicationTime": start, "frequency": 12, "description": "d é 😀"}
    more = {"licenseType": "AWS", "roleName": "sms", "numberOfRecentAmisToKeep": 3, "encrypted": True}
    job = sms.create_replication_job(**good, **more)["replicationJobId"]
    check("a job's id has the known form", re.fullmatch(r"sms-job-[0-9a-f]{8}", job), job)
    refused("a second live job is refused", "ReplicationJobAlreadyExistsException", sms.create_replication_job, **good)

    shown = job_of(job)
    wanted = {k: v for k, v in {**good, **more}.items() if k != "seedReplicationTime"}
    equal("a job is as it was created", {k: shown.get(k) for k in wanted}, wanted)
    check("it is waiting or at work", shown["state"] in ("PENDING", "ACTIVE"), shown["state"])
    check("it has a start", isinstance(shown["seedReplicationTime"], datetime.datetime), shown)
    check("it is no one-time job", shown["runOnce"] is False, shown)
    check("it names its server", shown["vmServer"]["vmName"] and shown["serverType"] == "VIRTUAL_MACHINE", shown)
    check("it shows at most one run", len(shown["replicationRunList"]) <= 1, shown)
    listed = sms.get_servers()["serverList"]
    mine = next(s for s in listed if s["serverId"] == server)
    equal("the server names its job", (mine["replicationJobId"], mine["replicationJobTerminated"]), (job, False))
    return job


def each_change_alone(job):
    """Each member that can be changed changes itself and what goes with it, and nothing else of the job. No run of the
    job is at work, so all that is shown of it stays as it is."""
    hours = 24
    schedule_moves(job, {"frequency": hours}, job_of(job)["seedReplicationTime"] + datetime.timedelta(hours=hours))
    at = (now() + datetime.timedelta(days=3)).replace(microsecond=0)
    schedule_moves(job, {"nextReplicationRunStartTime": at}, at)

    # A member, its new value, and what else the change sets; None is no longer shown.
    arn = "arn:aws:kms:eu-west-1:123456789012:alias/flows"
    changes = [
        ("description", "changed", {}), ("description", "", {"description": None}), ("numberOfRecentAmisToKeep", 5, {}),
        ("roleName", "other", {}), ("licenseType", "BYOL", {}), ("kmsKeyId", "alias/aws/ebs", {}),
        ("encrypted", False, {"kmsKeyId": None}), ("encrypted", True, {}), ("encrypted", False, {}),
        ("kmsKeyId", "alias/flows", {"encrypted": True}), ("kmsKeyId", arn, {}), ("kmsKeyId", "", {"kmsKeyId": None}),
    ]
    for name, value, more in changes:
        before = job_of(job)
        wanted = {**before, name: value, **more}
        wanted = {member: its for member, its in wanted.items() if its is not None}
        check(f"{name}={value!r} is a change", wanted != before, before)
        changed(job, {name: value})
        equal(f"{name}={value!r} is changed, the rest is not", job_of(job), wanted)

    before, invalid = job_of(job), "InvalidParameterException"
    for wrong in ({"frequency": 99}, {"nextReplicationRunStartTime": now() + datetime.timedelta(days=31)}):
        change = {**wrong, "description": "never"}
        refused(f"{set(wrong)} that is wrong is refused", invalid, sms.update_replication_job, replicationJobId=job, **change)
        equal("and changes nothing", job_of(job), before)


def changed(job, change):
    answer = sms.update_replication_job(replicationJobId=job, **change)
    equal(f"UpdateReplicationJob with {list(change)} answers nothing", set(answer), {"ResponseMetadata"})


def schedule_moves(job, change, at):
    """A change after which the run that is listed ahead is due at another time."""
    move = lambda runs: [{**run, "scheduledStartTime": at} if run["state"] == "PENDING" else run for run in runs]
    before, runs = job_of(job), runs_of(job)
    equal("one run is listed ahead", [run["state"] for run in runs].count("PENDING"), 1)
    check(f"{set(change)} is to move it", before["nextReplicationRunStartTime"] != at, before)
    changed(job, change)
    wanted = {**before, **change, "nextReplicationRunStartTime": at, "replicationRunList": move(before["replicationRunList"])}
    equal(f"{set(change)} moves the schedule, the rest of the job stays", job_of(job), wanted)
    equal(f"{set(change)} moves the run that is listed ahead and no other", runs_of(job), move(runs))


def one_time_run(server):
    """A one-time job that starts now comes to its end, and its server can have another job."""
    create = {"serverId": server, "seedReplicationTime": now(), "runOnce": True, "description": "once"}
    create["kmsKeyId"] = "alias/flows"
    job = sms.create_replication_job(**create)["replicationJobId"]
    shown = wait("the one-time job is completed", RUN_BOUND, lambda: job_of(job)["state"] == "COMPLETED" and job_of(job))
    if not shown:
        return
    check("it names its image", re.fullmatch(r"ami-[0-9a-f]{17}", shown.get("latestAmiId", "")), shown)
    check("nothing is listed ahead", "nextReplicationRunStartTime" not in shown, shown)
    runs = runs_of(job)
    equal("it had one run", [(r["state"], r["amiId"]) for r in runs], [("COMPLETED", shown["latestAmiId"])])
    for its in (shown, *runs):
        equal("it names its key", (its.get("kmsKeyId"), its.get("encrypted")), ("alias/flows", True))
    barred = "OperationNotPermittedException"
    refused("it starts no run", barred, sms.start_on_demand_replication_run, replicationJobId=job)
    refused("it is not changed any more", barred, sms.update_replication_job, replicationJobId=job, description="x")
    deleted(job)


def by_address(servers):
    """The filter takes several addresses, gives them in the order asked for, and leaves out what is not there."""
    addresses = [server["vmServer"]["vmServerAddress"] for server in servers]
    some = [addresses[2], {"vmManagerId": "nobody", "vmId": addresses[0]["vmId"]}, addresses[0]]
    found = sms.get_servers(vmServerAddressList=some)
    equal("servers by their addresses", [s["serverId"] for s in found["serverList"]], [servers[n]["serverId"] for n in (2, 0)])
    check("they come on one page", "nextToken" not in found, found)
    everything = sms.get_servers(vmServerAddressList=[])["serverList"]
    equal("an empty list of addresses is no filter", len(everything), len(servers))


def one_time_job(server):
    far = now() + datetime.timedelta(days=29)
    return sms.create_replication_job(serverId=server, seedReplicationTime=far, runOnce=True)["replicationJobId"]


def second_job(server):
    """A one-time job that never runs: jobs in pages, and what a deleted one refuses."""
    job = one_time_job(server)
    shown = job_of(job)
    check("a one-time job has no interval", shown["runOnce"] is True and "frequency" not in shown, shown)
    check("an absent licence stays absent", "licenseType" not in shown, shown)
    in_pages("get_replication_jobs", "replicationJobList", "replicationJobId")
    deleted(job)
    barred, gone = "OperationNotPermittedException", "ReplicationJobNotFoundException"
    update = sms.update_replication_job
    refused("a deleted job cannot be changed", barred, update, replicationJobId=job, description="x")
    refused("a deleted job starts no run", barred, sms.start_on_demand_replication_run, replicationJobId=job)
    refused("a deleted job cannot be deleted", gone, sms.delete_replication_job, replicationJobId=job)
    in_pages("get_replication_jobs", "replicationJobList", "replicationJobId")


def runs_of(job):
    pages = sms.get_paginator("get_replication_runs").paginate(replicationJobId=job, PaginationConfig={"PageSize": 1})
    return [run for page in pages for run in page["replicationRunList"]]


def ended(job, run=None):
    """The run (or the first automatic one), once it has ended."""
    for found in runs_of(job):
        wanted = found["replicationRunId"] == run if run else found["type"] == "AUTOMATIC"
        if wanted and found["state"] in ("COMPLETED", "FAILED", "DELETED", "MISSED"):
            return found
    return None


def real_runs(job):
    first = wait("the first run ends", RUN_BOUND, lambda: ended(job))
    if not first or not check("it is completed", first["state"] == "COMPLETED", first):
        return
    check("its id has the known form", re.fullmatch(r"sms-run-[0-9a-f]{8}", first["replicationRunId"]), first)
    check("it made an image", re.fullmatch(r"ami-[0-9a-f]{17}", first["amiId"]), first)
    check("it says when it ended", first["completedTime"] >= first["scheduledStartTime"], first)
    equal("the job names the image", job_of(job)["latestAmiId"], first["amiId"])
    equal("the job is active", job_of(job)["state"], "ACTIVE")
    start = sms.start_on_demand_replication_run
    for n in (1, 2):
        run = start(replicationJobId=job, description=f"extra {n}")["replicationRunId"]
        found = wait(f"extra run {n} ends", RUN_BOUND, lambda: ended(job, run))
        equal(f"extra run {n} is completed", (found["state"], found["type"]), ("COMPLETED", "ON_DEMAND"))
        equal(f"extra run {n} keeps its description", found["description"], f"extra {n}")
        order = [r["replicationRunId"] for r in runs_of(job)]
        check("newer runs come first", order.index(run) < order.index(first["replicationRunId"]), order)
    refused("a third extra run is refused", "ReplicationRunLimitExceededException", start, replicationJobId=job)
    in_pages("get_replication_runs", "replicationRunList", "replicationRunId", replicationJobId=job)


def end_of_job(job, server):
    deleted(job)
    mine = next(s for s in sms.get_servers()["serverList"] if s["serverId"] == server)
    equal("the server says that its job has ended", mine["replicationJobTerminated"], True)
    deleted(one_time_job(server))


def deleted(job):
    answer = sms.delete_replication_job(replicationJobId=job)
    equal("DeleteReplicationJob answers 200", answer["ResponseMetadata"]["HTTPStatusCode"], 200)
    wait("the job is deleted", 90, lambda: job_of(job)["state"] == "DELETED")


def farewell(server):
    sms.delete_server_catalog()
    answer = sms.get_servers()
    equal("the catalog is empty", (answer["serverCatalogStatus"], answer["serverList"]), ("DELETED", []))
    sms.import_server_catalog()
    answer = wait("the catalog is there again", 90, catalog_available)
    check("with the same ids", server in [s["serverId"] for s in answer["serverList"]], answer)
    left = [c["connectorId"] for c in sms.get_connectors()["connectorList"]]
    while left:
        sms.disassociate_connector(connectorId=left.pop())
        equal("that connector is gone", [c["connectorId"] for c in sms.get_connectors()["connectorList"]], left)
    refused("no connector, no import", "NoConnectorsAvailableException", sms.import_server_catalog)


def flow():
    connectors()
    server, other, third = catalog()[:3]
    identity()
    bad_input(server)
    later()
    job = one_job(server)
    second_job(other)
    real_runs(job)
    each_change_alone(job)
    one_time_run(third)
    end_of_job(job, server)
    farewell(server)


finish(flow)
