"""What dpkg and apt have on record."""

import os
import re

DISTRIBUTIONS = ("debian", "ubuntu")
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*")
ALTERNATIVES = "/var/lib/dpkg/alternatives"
SIGNING_KEYS = ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der")


def packages(wanted):
    """Return packages of interest and broken ones, from dpkg's own database."""
    found, broken = {}, []
    try:
        with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as handle:
            stanzas = handle.read().split("\n\n")
    except OSError:
        return found, broken
    for stanza in stanzas:
        name = stanza[9 : stanza.find("\n")]
        state = re.search(r"^Status: (\S+) (\S+) (\S+)", stanza, re.M)
        if state is None:
            continue
        if state.group(3) not in ("installed", "config-files", "not-installed"):
            broken.append({"name": name, "status": state.group(3)})
        if not wanted(name):
            continue
        fields = dict(
            re.findall(r"^(Version|Architecture|Depends|Pre-Depends|Provides): (.*)", stanza, re.M)
        )
        found[name] = {
            "version": fields.get("Version"),
            "status": state.group(3),
            "hold": state.group(1) == "hold",
            "depends": ", ".join(fields[k] for k in ("Pre-Depends", "Depends") if k in fields),
            "provides": fields.get("Provides", ""),
        }
    return found, broken


def indexes():
    """Return the names of the package index files that apt has."""
    try:
        return sorted(n for n in os.listdir("/var/lib/apt/lists") if n.endswith("_Packages"))
    except OSError:
        return []
