"""Units, kernel modules, initial RAM disk and the default toolkit."""

import os

from . import family
from .base import OperationError, command, done, last_lines, listed


def systemd_runs():
    """Return whether systemd is process 1 here, as its own sd_booted() judges."""
    return os.path.isdir("/run/systemd/system")


def _state(unit):
    """Return properties of a unit.

    Raises:
        OperationError: systemd does not answer; that is not the answer that there is no such unit.

    """
    names = "LoadState,UnitFileState,ActiveState"
    outcome = command(["systemctl", "show", "--property=" + names, "--", unit])
    if outcome.code != 0:
        raise OperationError(
            "E_SERVICE", "%s: systemd does not answer: %s" % (unit, last_lines(outcome))
        )
    return dict(line.split("=", 1) for line in outcome.out.splitlines() if "=" in line)


def _systemctl(verb, unit):
    outcome = command(["systemctl", "--no-ask-password", verb, "--", unit])
    if outcome.code != 0:
        log = command(["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "3", "-u", unit])
        said = " It said last: %s" % " ".join(log.out.split()) if log.out.strip() else ""
        raise OperationError(
            "E_SERVICE", "%s: %s failed: %s.%s" % (unit, verb, last_lines(outcome), said)
        )


def _missing(unit, runs):
    """Return what has to be done with a unit, as verbs."""
    state = _state(unit) if runs else {}
    enabled = state.get("UnitFileState", "")
    verbs = []
    if enabled.startswith("masked") or state.get("LoadState") == "masked":
        verbs.append("unmask")
    if enabled not in ("enabled", "static", "indirect", "generated", "alias"):
        verbs.append("enable")
    if runs and state.get("ActiveState") not in ("active", "activating", "reloading"):
        verbs.append("start")
    return verbs


def _unneeded(unit, runs):
    """Return what has to be done with a unit that must not run, as verbs."""
    state = _state(unit) if runs else {}
    verbs = []
    if runs and state.get("ActiveState") in ("active", "activating", "reloading"):
        verbs.append("stop")
    # Unlike show, this answers without systemd too; of a unit that is not there, with nothing.
    if command(["systemctl", "is-enabled", "--", unit]).out.strip() == "enabled":
        verbs.append("disable")
    return verbs


def services(operation, context):
    """Unmask, enable and start units, or stop and disable them; without systemd nothing starts."""
    runs = systemd_runs()
    items = []
    wanted = [(unit, _missing) for unit in operation["units"]]
    for unit, verbs_of in wanted + [(unit, _unneeded) for unit in operation.get("unwanted") or []]:
        for verb in verbs_of(unit, runs):
            items.append("%s %s" % (verb, unit))
            if not context.check:
                _systemctl(verb, unit)
    detail = listed(items) if items else "all services are as planned"
    if not runs:
        detail += "; nothing was started, systemd does not run here"
    return done(detail, items)


def loaded_modules(table="/proc/modules"):
    """Return names of loaded kernel modules."""
    try:
        with open(table) as handle:
            return {line.split()[0] for line in handle if line.strip()}
    except (IOError, OSError):
        return set()


def load(operation, context):
    """Load kernel modules."""
    loaded = loaded_modules()
    names = [n for n in operation["modules"] if n.replace("-", "_") not in loaded]
    for name in [] if context.check else names:
        outcome = command(["modprobe", "--", name])
        if outcome.code != 0:
            raise OperationError(
                "E_MODULE_LOAD", "module %s cannot be loaded: %s" % (name, last_lines(outcome))
            )
    return done("loaded %s" % listed(names) if names else "all modules are loaded", names)


def initramfs(operation, context):
    """Make the initial RAM disk of a kernel anew."""
    kernel = operation["kernel"]
    if not context.check:
        outcome = family.backend(context.family).rebuild_initramfs(kernel)
        if outcome.code != 0:
            raise OperationError(
                "E_COMMAND",
                "the initial RAM disk of %s cannot be made: %s" % (kernel, last_lines(outcome)),
            )
    return done("rebuilt the initial RAM disk of kernel %s" % kernel, [kernel])


def default_link(operation, context):
    """Fix a link that several packages offer to one of them."""
    name, value = operation["name"], operation["value"]
    backend = family.backend(context.family)
    if backend.default_link(name) == value and os.path.realpath("/usr/local/" + name) == value:
        return done("%s is the default" % value)
    if not context.check:
        outcome = backend.set_default_link(name, value)
        if outcome.code != 0:
            raise OperationError(
                "E_COMMAND", "%s cannot become the default: %s" % (value, last_lines(outcome))
            )
    return done("made %s the default" % value, [value])
