#!/usr/bin/env python3
"""Holds every reply that a client got against the model that botocore itself was built with.

    validate.py RECORDING [OPERATION...] [--all]

RECORDING is a folder with what was said on each connection, byte for byte: N.request and N.reply. Whatever the client
is, each of its requests must have a reply, and each reply must be as the model says. Each OPERATION must be among those
that were answered well, with --all every operation of the model among those that were called.

Clients are lenient, each in its own way: botocore drops members that it does not know, takes strings for numbers and any
text for an enum. First `self_test` shows that each kind of wrong is found.
"""

import collections
import http.client
import io
import json
import math
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True

import botocore.session

from checks import check, equal, finish

SMS = "AWSServerMigrationService_V2016_10_24."
OWN = "Godwit_V1."
# Errors that the model leaves to the protocol and to the signature, as docs/api.md lists them.
COMMON = {
    "IncompleteSignatureException", "InvalidSignatureException", "MissingAuthenticationTokenException",
    "RequestEntityTooLargeException", "RequestTimeTooSkewed", "SerializationException", "UnknownOperationException",
    "UnrecognizedClientException",
}
JSON_TYPES = {"structure": dict, "list": list, "string": str, "boolean": bool}
# Far from both ends of what clients take for seconds: what lies outside is milliseconds, or a mistake.
EARLIEST, LATEST = 946_684_800, 7_258_118_400


def wrongs_of(shape, value, path):
    """What is wrong with a JSON value that should be of the shape."""
    kind = shape.type_name
    if kind in ("integer", "long", "float", "double", "timestamp"):
        yield from wrongs_of_number(shape, value, path)
    elif not isinstance(value, JSON_TYPES[kind]):
        yield f"{path} is {type(value).__name__}, the model says {kind}"
    elif kind == "structure":
        for name in value.keys() - shape.members.keys():
            yield f"{path}.{name} is not in the model"
        for name in set(shape.required_members) - value.keys():
            yield f"{path}.{name} is absent, the model requires it"
        for name in value.keys() & shape.members.keys():
            yield from wrongs_of(shape.members[name], value[name], f"{path}.{name}")
    elif kind == "list":
        for n, item in enumerate(value):
            yield from wrongs_of(shape.member, item, f"{path}[{n}]")
    elif kind == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path} is {value!r}, the model has {shape.enum}"


def wrongs_of_number(shape, value, path):
    kind = shape.type_name
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        yield f"{path} is {value!r}, the model says {kind}"
    elif kind in ("integer", "long") and not isinstance(value, int):
        yield f"{path} is {value!r}, no whole number"
    elif kind == "integer" and not -(2**31) <= value < 2**31:
        yield f"{path} is {value}, beyond 32 bits"
    elif kind == "timestamp" and not EARLIEST < value < LATEST:
        yield f"{path} is {value}, no epoch seconds of our time"


def wrongs_of_error(target, status, body):
    code = body.get("__type")
    if not isinstance(code, str):
        yield f"__type is {code!r}"
    elif code not in COMMON | modelled_errors(target):
        yield f"{code} is no error of {target}"
    if not isinstance(body.get("message"), str) or not body["message"]:
        yield "the error says nothing"
    for name in body.keys() - {"__type", "message"}:
        yield f"the error has {name}, which the model does not"
    ours = code in ("InternalError", "TemporarilyUnavailableException")
    if (status >= 500) != ours:
        yield f"{code} comes with HTTP {status}"


def wrongs_of_reply(target, status, headers, raw):
    """Everything that is wrong with a raw reply to a request for the target. Of our own operations the model knows the
    errors only."""
    headers = {name.lower(): value for name, value in headers.items()}
    if len(headers.get("x-amzn-requestid", "")) < 8:
        yield "there is no request id"
    if headers.get("content-type") != "application/x-amz-json-1.1":
        yield f"the content type is {headers.get('content-type')!r}"
    try:
        body = json.loads(raw, parse_constant=lambda name: name)
    except ValueError as error:
        yield f"the body is no JSON: {error}"
        return
    if not isinstance(body, dict):
        yield f"the body is {type(body).__name__}"
    elif status >= 400:
        yield from wrongs_of_error(target, status, body)
    elif status != 200:
        yield f"HTTP {status}"
    elif operation := modelled(target):
        yield from wrongs_of(operation.output_shape, body, operation.name)
    elif not target.startswith(OWN):
        yield f"{target} is no operation, and was answered"


MODEL = botocore.session.get_session().get_service_model("sms")


def modelled(target):
    """The model's operation of a target, if it has it."""
    name = target.removeprefix(SMS)
    return MODEL.operation_model(name) if name != target and name in MODEL.operation_names else None


def modelled_errors(target):
    operation = modelled(target)
    known = operation.error_shapes if operation else MODEL.error_shapes if target.startswith(OWN) else []
    return {shape.name for shape in known}


class Said(io.BytesIO):
    """What one side said on a connection: message after message, as http.client reads them from a socket."""

    def makefile(self, *_):
        return self

    def close(self):
        """The next message is read from the same place."""


def requests(said):
    """Method, path and target of each request."""
    while line := said.readline():
        method, path, _ = line.decode("latin-1").split()
        headers = http.client.parse_headers(said)
        assert "transfer-encoding" not in headers, "a body in chunks, which no client sends here"
        said.read(int(headers.get("content-length", 0)))
        yield method, path, headers.get("x-amz-target", "")


def exchanges(recording):
    """Each request with its reply: status, headers and body, or None."""
    for file in sorted(pathlib.Path(recording).glob("*.request")):
        replies = Said(file.with_suffix(".reply").read_bytes())
        for method, path, target in requests(Said(file.read_bytes())):
            reply = http.client.HTTPResponse(replies, method=method)
            try:
                reply.begin()
                yield method, path, target, (reply.status, dict(reply.getheaders()), reply.read())
            except http.client.HTTPException:
                yield method, path, target, None


def recorded(recording, wanted, whole):
    """Every reply of a recording is as the model says."""
    well, refused, unanswered = collections.Counter(), collections.Counter(), []
    for method, path, target, reply in exchanges(recording):
        if (method, path) != ("POST", "/"):
            continue
        if reply is None:
            unanswered.append(target)
            continue
        wrongs = list(wrongs_of_reply(target, *reply))
        name = target.removeprefix(SMS)
        (well if reply[0] < 400 else refused)[name] += 1
        # Thousands of good ones would say nothing.
        if wrongs:
            check(f"the reply to {target} is as the model says", False, wrongs)
    equal("every request has its reply", unanswered, [])
    for name in sorted(well | refused):
        print(f"      {name or '(no target)'}: {well[name]} answered, {refused[name]} refused")
    check(f"{(well | refused).total()} replies were held against the model", well, "there is none")
    equal("a good reply of every operation that was to be called is among them", set(wanted) - well.keys(), set())
    if whole:
        seen = well.keys() | refused.keys()
        equal("a reply of every operation of the model is among them", set(MODEL.operation_names) - seen, set())


def good_job():
    run = {"replicationRunId": "sms-run-1", "state": "ACTIVE", "scheduledStartTime": 1.8e9, "stageDetails": {"stage": "x"}}
    job = {"replicationJobId": "sms-job-1", "frequency": 12, "runOnce": False, "seedReplicationTime": 1_800_000_000}
    return {"replicationJobList": [{**job, "licenseType": "BYOL", "replicationRunList": [run]}], "nextToken": "t"}


def spoilt(change):
    body = good_job()
    change(body, body["replicationJobList"][0])
    return json.dumps(body).encode()


def self_test():
    """The validator takes a good reply and refuses one that is spoilt in each way."""
    jobs = SMS + "GetReplicationJobs"
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "0123456789"}
    error = lambda **members: json.dumps({"__type": "InvalidParameterException", "message": "it is wrong", **members})
    reply = lambda raw, status=200, headers=headers: list(wrongs_of_reply(jobs, status, headers, raw))
    equal("the validator takes a good reply", reply(json.dumps(good_job())), [])
    equal("the validator takes a good error", reply(error(), 400), [])
    less = lambda name: {k: v for k, v in headers.items() if k != name}
    cases = {
        "an unknown member": reply(spoilt(lambda body, job: job.update(state2="x"))),
        "an unknown member at the top": reply(spoilt(lambda body, job: body.update(more=1))),
        "a string for a number": reply(spoilt(lambda body, job: job.update(frequency="12"))),
        "a fraction for a whole number": reply(spoilt(lambda body, job: job.update(frequency=1.5))),
        "a number beyond 32 bits": reply(spoilt(lambda body, job: job.update(frequency=2**31))),
        "a number for a truth value": reply(spoilt(lambda body, job: job.update(runOnce=0))),
        "a truth value for a number": reply(spoilt(lambda body, job: job.update(frequency=True))),
        "null": reply(spoilt(lambda body, job: job.update(description=None))),
        "an enum value in display case": reply(spoilt(lambda body, job: job.update(state="PausedOnFailure"))),
        "a time as text": reply(spoilt(lambda body, job: job.update(seedReplicationTime="2026-01-01T00:00:00Z"))),
        "a time in milliseconds": reply(spoilt(lambda body, job: job.update(seedReplicationTime=1.8e12))),
        "an object for a list": reply(spoilt(lambda body, job: body.update(replicationJobList={}))),
        "a list for an object": reply(spoilt(lambda body, job: job.update(vmServer=[]))),
        "something wrong far inside": reply(spoilt(lambda body, job: job["replicationRunList"][0].update(state="Active"))),
        "no JSON": reply(b"<html>"),
        "JSON that is no object": reply(b"[]"),
        "not a number": reply(json.dumps(good_job()).replace("12", "NaN")),
        "another content type": reply(json.dumps(good_job()), headers={**headers, "Content-Type": "application/json"}),
        "no content type": reply(json.dumps(good_job()), headers=less("Content-Type")),
        "no request id": reply(json.dumps(good_job()), headers=less("x-amzn-RequestId")),
        "another good status": reply(json.dumps(good_job()), 202),
        "an error of another operation": reply(error(__type="ReplicationRunLimitExceededException"), 400),
        "an error without a type": reply(json.dumps({"message": "it is wrong"}), 400),
        "an error that says nothing": reply(error(message=""), 400),
        "an error with more in it": reply(error(Message="it is wrong"), 400),
        "the caller's mistake as ours": reply(error(), 500),
    }
    for name, wrongs in cases.items():
        equal(f"the validator refuses {name}, and finds nothing else", len(wrongs), 1)
    request = f"POST / HTTP/1.1\r\nX-Amz-Target: {jobs}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "1.request").write_bytes(request * 3)
        pathlib.Path(folder, "1.reply").write_bytes(answer * 2)
        found = [reply and reply[2] for *_, reply in exchanges(folder)]
    equal("each request of a connection has its own reply, or none", found, [b"{}", b"{}", None])


def flow():
    self_test()
    recording, *wanted = [argument for argument in sys.argv[1:] if argument != "--all"]
    recorded(recording, wanted, "--all" in sys.argv)


finish(flow)
