"""What the client scripts share: named checks that are counted, bounded waits, and the service's keys."""

import configparser
import os
import sys
import time
import traceback

ENDPOINT = os.environ.get("GODWIT_ENDPOINT") or os.environ["AWS_ENDPOINT_URL_SMS"]
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
RUN_BOUND = float(os.environ.get("GODWIT_RUN_BOUND", "300"))

_passed, _failed = 0, []


def check(name, holds, shown=""):
    """Counts a check; `shown` is printed if it fails."""
    global _passed
    if holds:
        _passed += 1
        print(f"ok    {name}")
    else:
        _failed.append(name)
        print(f"FAIL  {name}: {shown}")
    return bool(holds)


def equal(name, found, wanted):
    return check(name, found == wanted, f"found {found!r}, wanted {wanted!r}")


def wait(name, bound, probe):
    """Polls until `probe` gives something true; a failed check and None if it does not within `bound` seconds."""
    end = time.monotonic() + bound
    while True:
        found = probe()
        if found:
            check(name, True)
            return found
        if time.monotonic() > end:
            check(name, False, f"not within {bound:.0f} s")
            return None
        time.sleep(0.2)


def keys():
    """Access key id and secret of the service's credentials file."""
    file = configparser.ConfigParser()
    file.read(os.environ["AWS_SHARED_CREDENTIALS_FILE"], encoding="utf-8")
    profile = file[os.environ.get("AWS_PROFILE", "default")]
    return profile["aws_access_key_id"], profile["aws_secret_access_key"]


def finish(flow):
    """Runs the flow, prints the final line and ends the process with its status."""
    try:
        flow()
    except Exception:  # the rest of the flow cannot go on; what was counted so far still is told
        traceback.print_exc(file=sys.stdout)
        check("the flow came to its end", False, "see the trace above")
    for name in _failed:
        print(f"failed: {name}")
    print(f"{_passed} passed, {len(_failed)} failed")
    sys.exit(1 if _failed else 0)
