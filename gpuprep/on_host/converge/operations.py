"""Carries out a request's operations in order, up to the first failure."""

import time
import traceback

from . import base, family

ahead, conda, files, folders, lease, packages, python, services, workload = map(
    base.Later,
    ("ahead", "conda", "files", "folders", "lease", "packages", "python", "services", "workload"),
)

SCHEMA = 1
# ruff: noqa: PLW0108 - a function is looked up when it is called: that imports its module
OPERATIONS = {
    "files": lambda *given: files.files(*given),
    "set_aside": lambda *given: files.set_aside(*given),
    "labels": lambda *given: folders.labels_below(*given),
    "linker_cache": lambda *given: files.linker_cache(*given),
    "first_boot": lambda *given: packages.first_boot(*given),
    "stream": lambda *given: packages.stream(*given),
    "packages": lambda *given: packages.packages(*given),
    "purge": lambda *given: packages.purge(*given),
    "hold": lambda *given: packages.hold(*given),
    "module": lambda *given: packages.module(*given),
    "initramfs": lambda *given: services.initramfs(*given),
    "services": lambda *given: services.services(*given),
    "load": lambda *given: services.load(*given),
    "default_link": lambda *given: services.default_link(*given),
    "conda_install": lambda *given: conda.conda_install(*given),
    "conda_environments": lambda *given: conda.conda_environments(*given),
    "python_lock": lambda *given: python.python_lock(*given),
    "account": lambda *given: workload.account(*given),
    "checkout": lambda *given: workload.checkout(*given),
    "start_test": lambda *given: workload.start_test(*given),
    "lease": lambda *given: lease.lease(*given),
    "ahead": lambda *given: ahead.ahead(*given),
}
# Their failures are explained by the state of the package manager.
DIAGNOSED = ("stream", "packages", "purge", "hold", "module")


def failure(operation, code, message, diagnosis=""):
    """Return the answer's description of a failed operation."""
    return {"op": operation, "code": code, "message": message, "diagnosis": diagnosis}


def _carry_out(operation, context):
    """Return an operation's result and failure; one of them is None."""
    name = operation.get("op")
    started = time.monotonic()
    try:
        if name not in OPERATIONS:
            raise base.OperationError(  # noqa: TRY301 - told as any other failure
                "E_INTERNAL", "unknown operation %r" % (name,)
            )
        result = OPERATIONS[name](operation, context)
    except base.OperationError as error:
        return None, failure(name, error.code, error.message, error.diagnosis)
    except Exception as error:  # noqa: BLE001 - whatever it is, the controller is told
        place = traceback.format_exc().strip().splitlines()[-3:]
        text = "%s: %s" % (type(error).__name__, error)
        return None, failure(name, "E_INTERNAL", text, " ".join(line.strip() for line in place))
    return dict(result, op=name, seconds=round(time.monotonic() - started, 3)), None


def _aftermath(failed, left, context):
    """Explain a failed package operation, and hold what is installed all the same."""
    if failed["op"] not in DIAGNOSED:
        return []
    try:
        parts = [failed["diagnosis"], packages.diagnose(context)]
        taken_back = family.backend(context.family).retreat()
        if taken_back:
            parts.append("Taken back: %s." % base.listed(taken_back))
        failed["diagnosis"] = " ".join(part for part in parts if part)
    except Exception as error:  # noqa: BLE001 - the first failure is the one that counts
        failed["diagnosis"] += " (no diagnosis: %s)" % error
    holds = [dict(operation, keep=True) for operation in left if operation["op"] == "hold"]
    held = [_carry_out(operation, context)[0] for operation in holds]
    return [result for result in held if result is not None]


def carry_out(request):
    """Return the answer to a request."""
    results, failed = [], None
    if request.get("schema") != SCHEMA:
        text = "request of schema %r, expected %d" % (request.get("schema"), SCHEMA)
        failed = failure(None, "E_INTERNAL", text)
    children = []
    context = base.Context(
        request["family"],
        request["lock_timeout"],
        request["check"],
        children=children,
        carry_out=carry_out,
        made=[],
    )
    base.Patience.seconds = context.lock_timeout
    operations = [] if failed else request["operations"]
    for number, operation in enumerate(operations):
        result, failed = _carry_out(operation, context)
        if failed is not None:
            results += _aftermath(failed, operations[number + 1 :], context)
            break
        results.append(result)
        context = context._replace(changed=context.changed or result["changed"])
    if children:
        ahead.finish(children, stop=failed is not None)
    changed = any(result["changed"] for result in results)
    return {"schema": SCHEMA, "changed": changed, "operations": results, "failed": failed}
