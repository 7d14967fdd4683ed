"""Units of systemd."""

import os

from .. import labels
from .base import no_answer, run

BOOTED = "/run/systemd/system"  # where systemd is process 1, as its own sd_booted() judges


def properties(names, units):
    """Return properties of units, in their order; empty where systemd does not run."""
    argv = ["systemctl", "show", "--property=" + names, "--"] + list(units)
    code, text, said = run(argv)
    # Its bus gives up before our limit. Whom SELinux lets ask nothing is refused for that.
    confined = labels.is_confined(labels.mode(), labels.own_context())
    if code != 0 and os.path.isdir(BOOTED) and not confined:
        no_answer(argv, "failed: %s" % (said.strip() or "exit %d" % code))
    blocks = text.strip("\n").split("\n\n")
    return [dict(line.split("=", 1) for line in b.splitlines() if "=" in line) for b in blocks]


def units(names):
    """Return whether each systemd unit exists, is enabled, active, masked."""
    found = {}
    if not names:
        return found
    for name, facts in zip(names, properties("Id,LoadState,UnitFileState,ActiveState", names)):
        found[name] = {
            "exists": facts.get("LoadState") not in ("not-found", None),
            "enabled": facts.get("UnitFileState")
            in ("enabled", "enabled-runtime", "static", "alias"),
            "active": facts.get("ActiveState") == "active",
            "masked": facts.get("LoadState") == "masked",
        }
    return found
