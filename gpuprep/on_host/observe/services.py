"""Units of systemd."""

from .base import output


def units(names):
    """Return whether each systemd unit exists, is enabled, active, masked."""
    found = {}
    if not names:
        return found
    text = output(
        ["systemctl", "show", "--property=Id,LoadState,UnitFileState,ActiveState", "--", *names]
    )
    for name, block in zip(names, text.strip("\n").split("\n\n")):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[name] = {
            "exists": facts.get("LoadState") not in ("not-found", None),
            "enabled": facts.get("UnitFileState")
            in ("enabled", "enabled-runtime", "static", "alias"),
            "active": facts.get("ActiveState") == "active",
            "masked": facts.get("LoadState") == "masked",
        }
    return found
