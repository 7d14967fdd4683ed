"""Carries out another role's request in a process beside this one, while packages download.

Its answer is kept for that role, which takes it instead of doing the work again. Whatever becomes
of the packages, an installer is either not begun or brought to its end.
"""

import json
import os
import re
import shutil
import signal

from . import files, folders
from .base import Later, OperationError, done

fetch = Later("fetch")

ANSWERS = "ahead"  # directory in the run's; a file per request
NUMBER = re.compile("^[0-9a-f]{16}$")


def _path(number):
    if not NUMBER.match(number):
        raise OperationError("E_INTERNAL", "%r is no number of a request" % (number,))
    return os.path.join(folders.run_directory(), ANSWERS, number + ".json")


def number_of(request):
    """Return the number of a request that another may have carried out, None without one."""
    return next(filter(None, (one.get("number") for one in request["operations"])), None)


def ahead(operation, context):
    """Start carrying out a request of another role; it is waited for at the end of this one."""
    if context.check:
        return done("another role's installer would run meanwhile")
    request = dict(operation["request"], schema=1, lock_timeout=context.lock_timeout, check=False)
    path = _path(number_of(request))
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)  # what nobody came for
    os.mkdir(os.path.dirname(path), 0o700)
    child = os.fork()
    if child == 0:
        _be_child(request, path, context.carry_out)
    context.children.append(child)
    return done("began with another role's installer meanwhile")


def _be_child(request, path, carry_out):
    """Carry out the request, keep the answer and end; the caller's code never runs here."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, lambda *_: fetch.stop())
        data = json.dumps(carry_out(request)).encode("utf-8")
        files.write(path, data, 0o600, (os.geteuid(), os.getegid()))
        code = 0
    finally:
        os._exit(code)


def finish(children, stop):
    """Wait for the child processes; with ``stop``, those that still fetch end at once."""
    for child in children:
        try:
            if stop:
                os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
        except OSError:  # ended from outside: the other role does the work
            continue


def answer_to(request):
    """Return the answer to a request that was carried out ahead, once; None without one."""
    number = number_of(request)
    if number is None:
        return None
    path = _path(number)
    data = files.current(path)[0]
    if data is None:
        return None
    os.unlink(path)
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError:
        return None
