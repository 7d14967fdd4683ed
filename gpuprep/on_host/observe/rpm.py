"""What rpm and dnf have on record."""

import configparser
import glob

from .base import output, read

DISTRIBUTIONS = ("rhel", "fedora", "centos", "ol", "rocky", "almalinux")
LOCKS = ("/var/lib/rpm/.rpm.lock",)
SOURCES = "/etc/yum.repos.d/*.repo"
ALTERNATIVES = "/var/lib/alternatives"
SIGNING_KEYS = ("/var/lib/dkms/mok.pub",)
_FORMAT = "%{NAME}\\t%{EVR}\\t%{ARCH}\\t[%{REQUIRENAME} ]\\t[%{PROVIDENAME} ]\\n"


def packages(wanted):
    """Return packages of interest from the rpm database, versionlocks as holds; none is broken."""
    locks = read("/etc/dnf/plugins/versionlock.list") + read("/etc/dnf/versionlock.toml")
    found = {}
    for line in output(["rpm", "-qa", "--qf", _FORMAT]).splitlines():
        fields = line.split("\t")
        if len(fields) == 5 and wanted(fields[0]):
            name, version, _arch, requires, provides = fields
            found[name] = {
                "version": version,
                "status": "installed",
                "hold": name in locks,
                "depends": ", ".join(requires.split()),
                "provides": ", ".join(provides.split()),
            }
    return found, []


def indexes():
    """Return the names of the package indexes: this family keeps none that a plan asks for."""
    return []


def sources():
    """Return the addresses that enabled repositories name, by file."""
    found = {}
    for path in sorted(glob.glob(SOURCES)):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(read(path, 1 << 20))
        except configparser.Error:
            continue
        addresses = [
            address
            for name in parser.sections()
            if parser.get(name, "enabled", fallback="1").lower() in ("1", "yes", "true", "on")
            for address in parser.get(name, "baseurl", fallback="").replace(",", " ").split()
        ]
        if addresses:
            found[path] = sorted(set(addresses))
    return found


def rules():
    """Return no rules: version locks are told with the packages as holds."""
    return []
