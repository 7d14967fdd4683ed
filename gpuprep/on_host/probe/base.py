"""Nothing here waits for ever: work with a driver in a child process, programs with a deadline."""

import json
import os
import select
import signal
import subprocess
import time

OUTPUT_LIMIT = 4000  # characters of a program's output that are kept as evidence
READ_LIMIT = 4 << 20  # bytes a child may report
GRACE = 1.0  # seconds that a killed process may take to disappear


def bounded(work, seconds, *arguments):
    """Call ``work`` in a child process and cut it off after ``seconds``.

    Gives the dict that ``work`` returned, or ``{"error": ..., "timed_out": ...}``; always with
    ``seconds``.
    """
    return side_by_side(work, seconds, [arguments])[0]


def side_by_side(work, seconds, calls):
    """Call ``work`` once per argument list, each in a child process of its own, all at a time.

    A driver that hangs leaves its child in uninterruptible sleep: it is killed, not waited for.
    Gives the answers in the order of the calls.
    """
    began = time.monotonic()
    children = [_start(work, arguments) for arguments in calls]
    results = []
    for child, reader in children:
        try:
            text, in_time = _read_until(reader, began + seconds)
        finally:
            os.close(reader)
        status = _reap(child, kill=not in_time)
        result = _result_of(text, in_time, status, seconds)
        result["seconds"] = round(time.monotonic() - began, 4)
        results.append(result)
    return results


def _start(work, arguments):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_child(work, arguments, writer)
    os.close(writer)
    return child, reader


def _be_child(work, arguments, writer):
    """Run ``work``, write its JSON and end; the caller's code after the fork never runs here."""
    code = 1
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # else a stuck child keeps the ssh session open
            os.dup2(quiet, stream)
        try:
            result = work(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
            result = {"error": "%s: %s" % (type(error).__name__, error)}
        data = json.dumps(result).encode()
        while data:
            data = data[os.write(writer, data) :]
        code = 0
    finally:
        os._exit(code)


def _read_until(reader, deadline):
    """Read to the end of file; False beside what was read when the deadline came first."""
    chunks = []
    size = 0
    while size < READ_LIMIT:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return b"".join(chunks), False
        chunk = os.read(reader, 65536)
        if not chunk:
            return b"".join(chunks), True
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks), True


def _reap(child, kill):
    """Collect the child's status; None when even a killed child does not go away."""
    if kill:
        try:
            os.killpg(child, signal.SIGKILL)
        except OSError:
            pass
    until = time.monotonic() + GRACE
    while time.monotonic() < until:
        try:
            done, status = os.waitpid(child, os.WNOHANG)
        except OSError:
            return None
        if done:
            return status
        time.sleep(0.002)
    return None


def _result_of(text, in_time, status, seconds):
    if not in_time:
        message = "no answer within %g s; cut off" % seconds
        if status is None:
            message += " (the process is stuck in the driver)"
        return {"error": message, "timed_out": True}
    try:
        return json.loads(text.decode())
    except ValueError:
        if status is not None and os.WIFSIGNALED(status):
            return {"error": "crashed with signal %d" % os.WTERMSIG(status)}
        return {"error": "ended without an answer"}


def command(argv, seconds, cwd=None, environment=None, owner=None, limit=OUTPUT_LIMIT):  # noqa: PLR0913, PLR0917
    """Run a program and cut it off, with all it started, after ``seconds``.

    ``owner`` is (uid, gid) to run it as: what a user can write is never run as root.

    Gives ``argv``, ``rc`` (None when cut off or not started), ``seconds``, ``output`` (stdout and
    stderr, the end of it), ``timed_out``.
    """
    began = time.monotonic()
    result = {"argv": list(argv), "rc": None, "timed_out": False, "output": ""}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environment,
            start_new_session=True,
            preexec_fn=(  # noqa: PLW1509 - the probe has no threads
                _become(owner) if owner and owner[0] != os.getuid() else None
            ),
        )
    except (OSError, subprocess.SubprocessError) as error:
        result["output"] = str(error)
        return result
    data = b""
    try:
        data = process.communicate(timeout=seconds)[0]
        result["rc"] = process.returncode
    except subprocess.TimeoutExpired:
        result["timed_out"] = True
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            pass
        try:
            data = process.communicate(timeout=GRACE)[0]
        except subprocess.TimeoutExpired as late:
            data = late.output or b""
    result["output"] = data.decode("utf-8", "replace")[-limit:]
    result["seconds"] = round(time.monotonic() - began, 4)
    return result


def _become(owner):
    def drop():
        os.setgroups([])
        os.setgid(owner[1])
        os.setuid(owner[0])

    return drop


def read_text(path, limit=65536):
    """Return a file's text, or None when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(limit).decode("utf-8", "replace")
    except OSError:
        return None
