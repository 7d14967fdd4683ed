"""The converge program: one request in, one answer out. Standard library, Python 3.6 or newer.

Fed to ``python3 -S -E -`` by the action gpuprep.core.converge.
"""

import json
import os
import sys

from . import job, operations
from .base import OperationError

# What must outlive a lost connection.
LASTING = {
    "stream",
    "packages",
    "purge",
    "module",
    "initramfs",
    "conda_install",
    "conda_environments",
    "python_lock",
    "checkout",
    "start_test",
}


def answer_to(request, texts):
    """Return the answer to a request, never an exception."""
    names = {operation.get("op") for operation in request["operations"]}
    os.environ.setdefault("HOME", "/root")
    os.environ.update(request.pop("environment", None) or {})
    os.umask(0o022)
    try:
        if request["check"] or names <= {"lease"}:
            return operations.carry_out(request)
        if names & LASTING:
            return job.run(request, texts)
        return job.run_here(request)
    except OperationError as error:
        failed = operations.failure(None, error.code, error.message, error.diagnosis)
    except Exception as error:  # noqa: BLE001 - whatever it is, the controller is told
        failed = operations.failure(None, "E_INTERNAL", "%s: %s" % (type(error).__name__, error))
    return {"schema": operations.SCHEMA, "changed": False, "operations": [], "failed": failed}


def main(text, marker, texts):
    """Read a request, carry it out, and write the answer behind the marker."""
    request = json.loads(text)
    if os.geteuid() == 0:
        answer = answer_to(request, texts)
    else:
        failed = operations.failure(None, "E_NOT_ROOT", "the host was reached without root rights")
        answer = {"schema": 1, "changed": False, "operations": [], "failed": failed}
    sys.stdout.write("\n%s\n%s\n" % (marker, json.dumps(answer)))
    sys.stdout.flush()
