"""Holds every reply against the model that botocore itself was built with, before botocore reads it.

botocore is lenient: it drops members that it does not know, takes strings for numbers and any text for an enum. Other
SDKs are not. `watch(client)` looks at each raw reply; what is wrong with it is a failed check. `self_test()` shows that
each kind of wrong is found.
"""

import json
import math

import botocore.session

from checks import check, equal

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


def wrongs_of_error(operation, status, body):
    code = body.get("__type")
    modelled = {shape.name: shape for shape in operation.error_shapes}
    if not isinstance(code, str):
        yield f"__type is {code!r}"
    elif code not in modelled and code not in COMMON:
        yield f"{code} is no error of {operation.name}"
    if not isinstance(body.get("message"), str) or not body["message"]:
        yield "the error says nothing"
    for name in body.keys() - {"__type", "message"}:
        yield f"the error has {name}, which the model does not"
    ours = code in ("InternalError", "TemporarilyUnavailableException")
    if (status >= 500) != ours:
        yield f"{code} comes with HTTP {status}"


def wrongs_of_reply(operation, status, headers, raw):
    """Everything that is wrong with a raw reply to the operation."""
    headers = {name.lower(): value for name, value in headers.items()}
    if headers.get("content-type") != "application/x-amz-json-1.1":
        yield f"the content type is {headers.get('content-type')!r}"
    if len(headers.get("x-amzn-requestid", "")) < 8:
        yield "there is no request id"
    try:
        body = json.loads(raw, parse_constant=lambda name: name)
    except ValueError as error:
        yield f"the body is no JSON: {error}"
        return
    if not isinstance(body, dict):
        yield f"the body is {type(body).__name__}"
    elif status >= 400:
        yield from wrongs_of_error(operation, status, body)
    elif status != 200:
        yield f"HTTP {status}"
    else:
        yield from wrongs_of(operation.output_shape, body, operation.name)


def watch(client):
    """Checks every reply that this client gets; gives the set of the operations and errors that came by."""
    seen = set()

    def look(operation_model, response_dict, **_):
        status, raw = response_dict["status_code"], response_dict["body"]
        wrongs = list(wrongs_of_reply(operation_model, status, response_dict["headers"], raw))
        seen.add((operation_model.name, status < 400))
        # Thousands of good ones would say nothing.
        if wrongs:
            check(f"the reply to {operation_model.name} is as botocore's model says", False, wrongs)

    client.meta.events.register("before-parse.sms", look)
    return seen


def model():
    return botocore.session.get_session().get_service_model("sms")


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
    jobs = model().operation_model("GetReplicationJobs")
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
