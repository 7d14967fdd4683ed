"""What dpkg and apt have on record."""

import glob
import mmap
import os
import re

from .base import output, read

DISTRIBUTIONS = ("debian", "ubuntu")
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
PID_FILES = ()
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*")
PREFERENCES = ("/etc/apt/preferences", "/etc/apt/preferences.d/*")
CONFIGURATION_BYTES = 1 << 20
LISTS = "/var/lib/apt/lists/"
COMPRESSED = (".lz4", ".gz", ".xz", ".zst", ".bz2")
UNPACK = "/usr/lib/apt/apt-helper"
ALTERNATIVES = "/var/lib/dpkg/alternatives"
INITRAMFS_MAKERS = ("mkinitramfs", "update-initramf")  # beginnings of their processes' names
MODULE_BUILDER = "dkms"
DPKG = "Package: dpkg\n"  # it is of the host's own architecture
SIGNING_KEYS = ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der")


def packages(wanted):
    """Return packages of interest and broken ones, from dpkg's own database.

    A package of the host's own architecture decides. One of the same name for another is at its
    version, dpkg sees to that; not held, it leaves the name so.
    """
    found, broken, loose = {}, [], set()
    try:
        with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as handle:
            stanzas = handle.read().split("\n\n")
    except OSError:
        return found, broken
    native = next((_architecture(s) for s in stanzas if s.startswith(DPKG)), None)
    for stanza in stanzas:
        name = stanza[9 : stanza.find("\n")]
        state = re.search(r"^Status: (\S+) (\S+) (\S+)", stanza, re.M)
        if state is None:
            continue
        if state.group(3) not in ("installed", "config-files", "not-installed"):
            broken.append({"name": name, "status": state.group(3)})
        if not wanted(name):
            continue
        if native and _architecture(stanza) not in (None, "all", native):
            if state.group(3) == "installed" and state.group(1) != "hold":
                loose.add(name)
            continue
        fields = dict(re.findall(r"^(Version|Depends|Pre-Depends|Provides): (.*)", stanza, re.M))
        found[name] = {
            "version": fields.get("Version"),
            "status": state.group(3),
            "hold": state.group(1) == "hold",
            "depends": ", ".join(fields[k] for k in ("Pre-Depends", "Depends") if k in fields),
            "provides": fields.get("Provides", ""),
        }
    for name in loose.intersection(found):
        found[name]["hold"] = False
    return found, broken


def _architecture(stanza):
    """Return the architecture that a paragraph names, None where it names none."""
    found = re.search(r"^Architecture: (\S+)", stanza, re.M)
    return found.group(1) if found else None


def indexes():
    """Return the names of the package index files that apt has."""
    try:
        return sorted(n for n in os.listdir("/var/lib/apt/lists") if n.endswith("_Packages"))
    except OSError:
        return []


def ready_modules(request, releases, there, lists=LISTS):
    """Return the packages with ready modules for kernels, each with the drivers they are of.

    request: index (pattern of the files to look into), prefix of the packages' names, driver
    (regular expression of the requirement that tells the driver). there: packages on the host;
    an index forgets those of old kernels. None: there is no such index.
    """
    paths = glob.glob(os.path.join(glob.escape(lists), request["index"]))
    if not paths or not releases:
        return None
    kernels = "|".join(map(re.escape, sorted(releases)))
    name = r"Package: (%s[^\n]*-(?:%s))\n" % (re.escape(request["prefix"]), kernels)
    stanza = re.compile(("\n" + name).encode("utf-8"))
    ends = tuple("-" + release for release in releases)
    found = {
        name: sorted(set(re.findall(request["driver"], package["depends"])))
        for name, package in there.items()
        if name.startswith(request["prefix"])
        and name.endswith(ends)
        and package["status"] == "installed"
    }
    for path in sorted(paths):
        for name, text in _stanzas_of(path, stanza):
            requires = re.search(r"^Depends: (.*)", text, re.M)
            told = re.findall(request["driver"], requires.group(1)) if requires else []
            found[name] = sorted(set(found.get(name, [])) | set(told))
    return found


def _stanzas_of(path, stanza):
    """Return name and text of the paragraphs of an index file that match; it may be large."""
    if path.endswith(COMPRESSED):
        return _paragraphs(output([UNPACK, "cat-file", path]).encode("utf-8"), stanza)
    try:
        with open(path, "rb") as handle:
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        with content:
            return _paragraphs(content, stanza)
    except (OSError, ValueError):  # gone in this moment, or empty
        return []


def _paragraphs(content, stanza):
    end = content.find(b"\n\n")
    first = b"\n" + content[: end + 1 if end >= 0 else len(content)]  # no line ends before it
    found = []
    for part in (first, content):
        for match in stanza.finditer(part):
            end = part.find(b"\n\n", match.start())
            text = part[match.start() : end if end >= 0 else len(part)]
            words = (match.group(1).decode("utf-8"), text.decode("utf-8", "replace"))
            found.append(words)
    return found


def _files(patterns, name):
    """Return the files that apt reads, in its order; it ignores those of other names."""
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    return [p for p in paths if p == patterns[0] or re.match(name, os.path.basename(p))]


def _stanzas(text):
    """Return the fields of each paragraph of a deb822 text, names in lower case."""
    found, fields, last = [], {}, None
    for line in [line for line in text.splitlines() if not line.startswith("#")] + [""]:
        if not line.strip():
            found += [fields] if fields else []
            fields, last = {}, None
        elif line[0] in " \t" and last:
            fields[last] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            fields[last] = value.strip()
    return found


def _one_line_addresses(text):
    """Return the addresses of a file of one-line entries."""
    lines = [line.split("#", 1)[0] for line in text.splitlines()]
    entries = [re.match(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)", line) for line in lines]
    return [entry.group(1) for entry in entries if entry]


def _stanza_addresses(text):
    """Return the addresses of a deb822 file, of enabled entries."""
    return [
        address
        for fields in _stanzas(text)
        if fields.get("enabled", "yes").lower() not in ("no", "false", "without", "off", "disable")
        for address in fields.get("uris", "").split()
    ]


def sources():
    """Return the addresses that apt's sources name, by file."""
    found = {}
    for path in _files(SOURCES, r"[\w.-]+\.(list|sources)$"):
        text = read(path, CONFIGURATION_BYTES)
        one_line = not path.endswith(".sources")
        addresses = _one_line_addresses(text) if one_line else _stanza_addresses(text)
        if addresses:
            found[path] = sorted({re.sub("//[^/@]*@", "//", address) for address in addresses})
    return found


def rules():
    """Return apt's preferences in the order that they apply."""
    found = []
    for path in _files(PREFERENCES, r"([\w-]+|[\w.-]+\.pref)$"):
        for fields in _stanzas(read(path, CONFIGURATION_BYTES)):
            priority = re.match(r"[+-]?\d{1,9}", fields.get("pin-priority", ""))
            if priority and "package" in fields and "pin" in fields:
                found.append(
                    {
                        "path": path,
                        "names": fields["package"].split(),
                        "pin": fields["pin"],
                        "priority": int(priority.group(0)),
                    }
                )
    return found


def locks():
    """Return no lines: this family holds packages by name."""
    return []


def streams():
    """Return no streams: this family has none."""
    return {}


def repositories():
    """Return nothing: the addresses by file say all that a plan asks for."""
    return {}
