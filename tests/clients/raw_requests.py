#!/usr/bin/env python3
"""Requests that no client would make, signed by hand: every refusal has its code, and the service goes on.

Python's standard library only. Needs AWS_ENDPOINT_URL_SMS (or GODWIT_ENDPOINT) and AWS_SHARED_CREDENTIALS_FILE.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import sys
import urllib.parse

sys.dont_write_bytecode = True

from checks import ENDPOINT, check, equal, finish, keys

SMS = "AWSServerMigrationService_V2016_10_24."
OWN = "Godwit_V1."
HOST = urllib.parse.urlparse(ENDPOINT).netloc
ACCESS_KEY, SECRET = keys()
SOON = int(datetime.datetime.now().timestamp()) + 3600
CREATE = {"serverId": "s-00000000", "seedReplicationTime": SOON, "frequency": 12}


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed(target, body, key=ACCESS_KEY, secret=SECRET, skew=0, service="sms", only=None, extra=None):
    """Headers of a signed request. `only` names the headers to sign, `extra` adds some."""
    time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew)
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ"), time.strftime("%Y%m%d")
    headers = {"host": HOST, "content-type": "application/x-amz-json-1.1", "x-amz-date": stamp, **(extra or {})}
    if target is not None:
        headers["x-amz-target"] = target
    names = sorted(only or headers)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    canonical = "\n".join(["POST", "/", "", lines, ";".join(names), hashlib.sha256(body).hexdigest()])
    scope = f"{day}/eu-central-1/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = mac(signing, part)
    signature = mac(signing, text).hex()
    parts = f"Credential={key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {parts}"}


def send(headers, body, method="POST", path="/"):
    """Status, headers in lower case, body."""
    connection = http.client.HTTPConnection(HOST, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if "content-length" not in headers:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders()
        connection.send(body)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def refused(name, code, headers, body, status=400, words=""):
    found_status, found, text = send(headers, body)
    try:
        said = json.loads(text)
    except ValueError:
        return check(name, False, f"the answer is not JSON: {text[:200]}")
    shown = f"{found_status} {said}"
    check(name, found_status == status and said.get("__type") == code and words in said.get("message", ""), shown)
    check(f"{name}: id and type", found.get("x-amzn-requestid") and found.get("x-amzn-errortype") == code, found)


def call(target, request):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return signed(target, body), body


def signatures():
    target, body = SMS + "GetConnectors", b"{}"
    good = signed(target, body)
    status, headers, text = send(good, body)
    found = (status, headers["content-type"])
    equal("a rightly signed request is answered", found, (200, "application/x-amz-json-1.1"))
    check("with a list", isinstance(json.loads(text)["connectorList"], list), text)
    missing, incomplete = "MissingAuthenticationTokenException", "IncompleteSignatureException"
    invalid, unknown, skewed = "InvalidSignatureException", "UnrecognizedClientException", "RequestTimeTooSkewed"
    refused("an unsigned request", missing, {k: v for k, v in good.items() if k != "authorization"}, body)
    refused("another scheme", incomplete, {**good, "authorization": "Bearer abc"}, body)
    refused("half an Authorization", incomplete, {**good, "authorization": good["authorization"][:60]}, body)
    refused("a wrong secret", invalid, signed(target, body, secret=SECRET[::-1]), body)
    refused("a changed body", invalid, good, b"{ }")
    refused("a changed target", invalid, {**good, "x-amz-target": SMS + "GetServers"}, body)
    refused("an unknown key", unknown, signed(target, body, key="AKIDNOBODY0000000000"), body)
    refused("a time long ago", skewed, signed(target, body, skew=-16 * 60), body)
    refused("a time to come", skewed, signed(target, body, skew=16 * 60), body)
    refused("another service's scope", invalid, signed(target, body, service="ec2"), body)
    refused("no host signed", incomplete, signed(target, body, only=["x-amz-date", "x-amz-target"]), body)
    refused("no time signed", incomplete, signed(target, body, only=["host", "x-amz-target"]), body)
    for skew in (-14 * 60, 14 * 60):
        equal(f"a clock that is {skew} s off will do", send(signed(target, body, skew=skew), body)[0], 200)
    for only in (["host", "x-amz-date", "x-amz-target"], ["host", "x-amz-date", "x-amz-target", "x-odd"]):
        headers = signed(target, body, only=only, extra={"x-odd": "a   b"})
        equal(f"signing {';'.join(only)} will do", send(headers, body)[0], 200)


def targets():
    unknown = "UnknownOperationException"
    for target in (SMS + "CreateConnector", "Other_V1.GetServers", "GetServers", SMS, OWN + "GetServers"):
        refused(f"the target {target}", unknown, *call(target, {}))
    refused("no target", unknown, *call(None, {}))
    refused("an operation that does not work yet", unknown, *call(SMS + "LaunchApp", {}), words="LaunchApp")


def bodies():
    wrong, missing, invalid = "SerializationException", "MissingRequiredParameterException", "InvalidParameterException"
    for body in (b"{", b"[]", b"null", b'"x"', b"{'a': 1}", b"\xff\xfe", b'{"serverId": "\xc3"}', b"[" * 5000):
        refused(f"the body {body[:24]!r}", wrong, *call(SMS + "CreateReplicationJob", body))
    create = SMS + "CreateReplicationJob"
    for member, value in (
        ("serverId", 7), ("serverId", ["s-00000000"]), ("frequency", "12"), ("frequency", 1.5), ("frequency", 2**40),
        ("runOnce", "true"), ("seedReplicationTime", "2026-01-01T00:00:00Z"), ("description", {}),
    ):
        refused(f"{member} = {value!r}", wrong, *call(create, {**CREATE, member: value}), words=member)
    for member in ("serverId", "seedReplicationTime"):
        less = {k: v for k, v in CREATE.items() if k != member}
        refused(f"no {member}", missing, *call(create, less), words=member)
        refused(f"{member} = null", missing, *call(create, {**CREATE, member: None}), words=member)
    refused("neither interval nor one-time", missing, *call(create, {**CREATE, "frequency": None}))
    refused("a wrong licence", invalid, *call(create, {**CREATE, "licenseType": "Auto"}), words="licenseType")
    refused("an unknown server", invalid, *call(create, CREATE), words="s-00000000")
    for time in (1e300, -1e300, 2**62):
        refused(f"the time {time:g}", invalid, *call(create, {**CREATE, "seedReplicationTime": time}))
    refused("no job id", missing, *call(SMS + "GetReplicationRuns", {}), words="replicationJobId")
    nested = {"vmServerAddressList": [{"vmManagerId": 5}]}
    where = "vmServerAddressList[0].vmManagerId"
    refused("a wrong type far inside", wrong, *call(SMS + "GetServers", nested), words=where)
    for body in (b"", b" {} ", b'{"unheardOf": [1, null, {"a": {}}]}', b'{"nextToken": null, "maxResults": null}'):
        equal(f"the body {body!r} will do", send(*call(SMS + "GetServers", body))[0], 200)
    large = b'{"x": "' + b"a" * (2 << 20) + b'"}'
    refused("a body of 2 MiB", "RequestEntityTooLargeException", *call(SMS + "GetServers", large), status=413)
    just = b'{"x": "' + b"a" * ((1 << 20) - 9) + b'"}'
    equal("a body of exactly 1 MiB will do", (len(just), send(*call(SMS + "GetServers", just))[0]), (1 << 20, 200))


def own_operations():
    missing, invalid, wrong = "MissingRequiredParameterException", "InvalidParameterException", "SerializationException"
    associate = OWN + "AssociateConnector"
    good = {"name": "x", "type": "QMP", "socket": "/nonexistent/godwit/qmp.sock"}
    refused("a socket that is not there", invalid, *call(associate, good), words="/nonexistent/godwit/qmp.sock")
    refused("a relative socket", invalid, *call(associate, {**good, "socket": "qmp.sock"}))
    refused("a kind that is none", invalid, *call(associate, {**good, "type": "VSPHERE"}), words="QMP")
    refused("no socket", missing, *call(associate, {"name": "x", "type": "QMP"}), words="socket")
    image = {"imageId": "ami-00000000000000000", "volume": 0}
    refused("an unknown image", invalid, *call(OWN + "ReadImage", {**image, "offset": 0, "length": 1}))
    negative = {**image, "offset": -1, "length": 1}
    refused("a negative offset", invalid, *call(OWN + "ReadImage", negative), words="offset")
    text = {**image, "volume": "0"}
    refused("a volume that is no number", wrong, *call(OWN + "ListImageExtents", text), words="volume")
    refused("an unknown image's extents", invalid, *call(OWN + "ListImageExtents", image))
    refused("an unknown image to verify", invalid, *call(OWN + "StartImageVerification", {"imageId": image["imageId"]}))
    refused("an unknown image to delete", invalid, *call(OWN + "DeleteImage", {"imageId": image["imageId"]}))
    for operation, member in (
        ("DescribeConnectors", "connectors"), ("DescribeReplicationRuns", "runs"), ("DescribeImages", "images"),
        ("DescribeSnapshots", "snapshots"), ("DescribeSweeps", "sweeps"),
    ):
        status, _, text = send(*call(OWN + operation, {}))
        check(f"{operation} lists", status == 200 and isinstance(json.loads(text)[member], list), text[:300])


def other_ways():
    status, headers, text = send({}, b"", method="GET")
    equal("GET / says what this is", (status, b"Godwit" in text), (200, True))
    check("with a request id", headers.get("x-amzn-requestid"), headers)
    equal("nothing is elsewhere", send({}, b"", path="/other")[0], 404)
    equal("PUT is refused", send({}, b"", method="PUT")[0], 405)


def flow():
    signatures()
    targets()
    bodies()
    own_operations()
    other_ways()
    equal("and the service goes on", send(*call(SMS + "GetConnectors", {}))[0], 200)


finish(flow)
