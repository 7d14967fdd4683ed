"""What all operations share: their result, their failure, and commands."""

import importlib
import os
import signal
import subprocess
from typing import NamedTuple


class Later:
    """A module of this program, imported when something of it is asked for.

    Every program is compiled anew on the host, and most need few of its modules.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        return getattr(importlib.import_module("." + self._name, __package__), name)


class Outcome(NamedTuple):
    """How a command ended: exit code, output, errors."""

    code: int
    out: str
    err: str


class Preview(NamedTuple):
    """What a transaction would do; whether it can be made, or only lacks something in the index."""

    ok: bool
    missing: bool
    installs: dict
    removes: list
    pending: list
    text: str


class Refreshed(NamedTuple):
    """Whether the index was read; whether trying again in a moment may help."""

    ok: bool
    transient: bool
    text: str


class Context(NamedTuple):
    """What holds for all operations.

    Attributes:
        family: package family.
        lock_timeout: seconds to wait for the package manager's locks.
        check: only look.
        changed: whether an operation before this one changed anything.
        children: processes that are waited for at the end.
        carry_out: gives the answer to another request.
        made: operations that an earlier one carried out with its own.

    """

    family: str
    lock_timeout: int
    check: bool
    changed: bool = False
    children: tuple = ()
    carry_out: object = None
    made: object = ()


class Patience:
    """How long a command waits for others that work on packages, in seconds; a request says it."""

    seconds = 0


# A missing program reads like one that a shell cannot find.
NOT_FOUND = 127
SHELL_SIGNAL = 128  # and the number of the signal


class OperationError(Exception):
    """An operation that failed; carries a stable code."""

    def __init__(self, code, message, diagnosis=""):
        super().__init__(message)
        self.code = code
        self.message = message
        self.diagnosis = diagnosis


def done(detail, items=(), diff=(), changed=None):
    """Return an operation's result.

    Args:
        detail: what was done, in a sentence.
        items: what was changed.
        diff: before and after of files.
        changed: whether the host was changed; by default, whether there are items.

    """
    items = list(items)
    result = {"changed": bool(items if changed is None else changed), "detail": detail}
    result["items"] = items
    if diff:
        result["diff"] = list(diff)
    return result


def command(argv, environment=None, without=(), **options):
    """Return exit code, output and errors of a command, decoded; it never raises.

    Args:
        argv: program and arguments.
        environment: variables beside those of this process.
        without: beginnings of names of variables that it does not inherit.
        options: as for subprocess.run.

    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(tuple(without))}
    try:
        finished = subprocess.run(  # noqa: PLW1510 - the caller looks at the code
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(inherited, LC_ALL="C", **(environment or {})),
            **options,
        )
    except FileNotFoundError:
        return Outcome(NOT_FOUND, "", "%s is not installed" % argv[0])
    except OSError as error:
        return Outcome(NOT_FOUND - 1, "", "%s: %s" % (argv[0], error.strerror))
    texts = (part.decode("utf-8", "replace") for part in (finished.stdout, finished.stderr))
    return Outcome(finished.returncode, *texts)


def killed(outcome):
    """Return that a signal ended a command, or a program of the shell's; else an empty text."""
    number = -outcome.code if outcome.code < 0 else outcome.code - SHELL_SIGNAL
    if number <= 0:
        return ""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return "" if outcome.code > 0 else "(killed by signal %d)" % number
    return "(killed by %s)" % name


def ended(outcome):
    """Return what a command said and what ended it; never empty."""
    text = (outcome.err if outcome.err.strip() else outcome.out).strip()
    said = " ".join(part for part in (text, killed(outcome)) if part)
    return said or "it said nothing (exit %d)" % outcome.code


def last_lines(outcome, count=8, prefixes=()):
    """Return the telling end of a command's output as one line."""
    lines = [line.strip() for line in ended(outcome).splitlines() if line.strip()]
    if prefixes:
        every = (outcome.out + "\n" + outcome.err).splitlines()
        telling = [line.strip() for line in every if line.startswith(prefixes)]
        lines = [*telling, killed(outcome)] if telling else lines
    return " ".join(line for line in lines[-count:] if line)


def listed(names, limit=6):
    """Return names for a sentence; of many only the first ones and their number."""
    names = list(names)
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else "%s and %d more" % (shown, len(names) - limit)
