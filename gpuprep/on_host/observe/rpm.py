"""What rpm and dnf have on record."""

import configparser
import fnmatch
import glob
import re

from .base import natural, output, read

DISTRIBUTIONS = ("rhel", "fedora", "centos", "ol", "rocky", "almalinux")
LOCKS = ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock")
PID_FILES = ("/var/cache/dnf/*.pid", "/var/lib/dnf/*.pid", "/run/dnf/*.pid")
SOURCES = ("/etc/yum.repos.d/*.repo", "/etc/yum/repos.d/*.repo", "/etc/distro.repos.d/*.repo")
# What `config-manager --setopt --save` writes, besides the files of the repositories.
OVERRIDES = ("/etc/dnf/repos.override.d/*.repo",)
SETTINGS = ("/etc/dnf/dnf.conf", "/etc/dnf/libdnf5.conf.d/*.conf")
MODULES = "/etc/dnf/modules.d/*.module"
LOCK_SETTINGS = "/etc/dnf/plugins/versionlock.conf"
LOCK_LIST = "/etc/dnf/plugins/versionlock.list"
LOCK_TABLE = "/etc/dnf/versionlock.toml"
OWN_LINES = re.compile(r"#\s*gpuprep: (end of )?\S")
ALTERNATIVES = "/var/lib/alternatives"
INITRAMFS_MAKERS = ("dracut",)  # beginnings of their processes' names
SIGNING_KEYS = ("/var/lib/dkms/mok.pub", "/etc/pki/akmods/certs/public_key.der")
CONFIGURATION_BYTES = 1 << 20
MANY = 500  # names that one command takes
_FORMAT = "%{NAME}\\t%{EVR}\\t%{ARCH}\\t[%{REQUIRENEVRS}, ]\\t[%{PROVIDENEVRS}, ]\\n"
# No files, no symbols, no sonames, no conditions: a kernel has thousands of those.
_PLAIN = re.compile(r"[\w.+-]+(\((x86-64|aarch-64)\))?( [<=>]{1,2} \S+)?$")
_TWIN = re.compile(r"i\d86$")  # beside the packages of a 64-bit system
_ON = ("1", "yes", "true", "on")


def packages(wanted):
    """Return packages of interest from the rpm database, and what is broken: it, if anything."""
    names = sorted(set(output(["rpm", "-qa", "--qf", "%{NAME}\\n"]).split()))
    chosen = [name for name in names if wanted(name)]
    rows = []
    for start in range(0, len(chosen), MANY):
        some = chosen[start : start + MANY]
        rows += output(["rpm", "-q", "--qf", _FORMAT, "--"] + some).splitlines()
    if not names or len(rows) < len(chosen):  # there is no system without packages
        return {}, [{"name": "rpm", "status": "its database cannot be read"}]
    return _packages(rows, [line for line in locks() if line[0] != "!"])


def _packages(rows, locked):
    """Return packages by name, and those that an interrupted update left in two versions.

    Kernels and their trees may be there in several versions: trees are told by release too. A
    package for 32-bit programs decides nothing, and the lines that hold its twin hold it too.
    """
    found, versions = {}, {}
    for row in rows:
        fields = row.split("\t")
        if len(fields) != 5:
            continue
        name, version, arch = fields[:3]
        package = {
            "version": version,
            "status": "installed",
            "hold": is_locked(name, version, arch, locked),
            "depends": _plain(fields[3]),
            "provides": _plain(fields[4]),
        }
        if "installonlypkg(" not in fields[4]:
            versions.setdefault("%s.%s" % (name, arch), {})[version] = name
        if _TWIN.match(arch):
            continue
        if name.startswith("kernel-") and "devel" in name:
            found["%s-%s.%s" % (name, version.split(":")[-1], arch)] = package
        other = found.get(name)
        if other is None or natural(other["version"]) <= natural(version):
            found[name] = package
    twice = sorted(
        {name for of_one in versions.values() if len(of_one) > 1 for name in of_one.values()}
    )
    return found, [{"name": name, "status": "duplicated"} for name in twice]


def _plain(text):
    return ", ".join(word for word in text.split(", ") if _PLAIN.match(word))


def is_locked(name, evr, arch, lines):
    """Return whether a line of the version lock is about this version of a package.

    A line that names no version forbids none.
    """
    epoch, _, rest = evr.rpartition(":")
    forms = []
    for version in ("%s:%s" % (epoch or "0", rest), rest):
        full = "%s-%s" % (name, version)
        forms += [full, "%s.%s" % (full, arch), full.rpartition("-")[0]]
    return any(fnmatch.fnmatchcase(form, line) for line in lines for form in forms)


def _lock_list():
    """Return the path of the version lock, None when nothing heeds it."""
    settings = _parsed(LOCK_SETTINGS)
    if not _is_on(settings.get("main", "enabled", fallback="1")):
        return None
    return (settings.get("main", "locklist", fallback="") or LOCK_LIST).strip()


def _lock_lines():
    """Return the path of the version lock, and its lines: (line, whether it is ours)."""
    path, found, ours = _lock_list(), [], False
    for line in (read(path, CONFIGURATION_BYTES) if path else "").splitlines():
        mark = OWN_LINES.match(line)
        if mark:
            ours = not mark.group(1)
        if line.strip() and line[0] != "#":
            found.append((line.strip(), ours))
    return path, found + [(line, False) for line in _table()]


def _table():
    """Return the entries of dnf 5's version lock as lines."""
    lines, name = [], None
    for line in read(LOCK_TABLE, CONFIGURATION_BYTES).splitlines():
        pair = re.match(r"\s*(name|value)\s*=\s*[\"']([^\"']+)[\"']", line)
        if pair and pair.group(1) == "name":
            name = pair.group(2)
        elif pair and name:
            lines.append("%s-%s" % (name, pair.group(2)))
    return lines


def locks():
    """Return the lines of the version lock."""
    return [line for line, _ in _lock_lines()[1]]


def streams():
    """Return the enabled stream of each module."""
    found = {}
    for path in sorted(glob.glob(MODULES)):
        parser = _parsed(path)
        for name in parser.sections():
            state = parser.get(name, "state", fallback="") or ""
            if state.strip().lower() == "enabled":
                found[name] = (parser.get(name, "stream", fallback="") or "").strip()
    return found


def indexes():
    """Return the names of the package indexes: this family keeps none that a plan asks for."""
    return []


def _parsed(path):
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(read(path, CONFIGURATION_BYTES))
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def _files(patterns):
    return [path for pattern in patterns for path in sorted(glob.glob(pattern))]


def _is_on(value):
    return (value or "").strip().lower() in _ON


def _words(value):
    return (value or "").replace(",", " ").split()


def repositories():
    """Return the repositories that files name, in order; later files change earlier ones."""
    found = {}
    for path in _files(SOURCES + OVERRIDES):
        parser = _parsed(path)
        for name in parser.sections():
            if name == "main":
                continue
            entry = found.setdefault(
                name,
                {"path": path, "enabled": True, "addresses": [], "excludes": [], "includes": []},
            )
            if parser.has_option(name, "enabled"):
                entry["enabled"] = _is_on(parser.get(name, "enabled"))
            for key in ("baseurl", "mirrorlist", "metalink"):
                entry["addresses"] += _words(parser.get(name, key, fallback=""))
            for key in ("exclude", "excludepkgs"):
                entry["excludes"] += _words(parser.get(name, key, fallback=""))
            entry["includes"] += _words(parser.get(name, "includepkgs", fallback=""))
    return found


def sources():
    """Return the addresses that enabled repositories name, by file."""
    found = {}
    for repository in repositories().values():
        if repository["enabled"] and repository["addresses"]:
            found.setdefault(repository["path"], set()).update(repository["addresses"])
    return {path: sorted(addresses) for path, addresses in found.items()}


def rules():
    """Return the excludes of the settings and of the repositories, and the locks of others."""
    found = []
    for path in _files(SETTINGS):
        parser = _parsed(path)
        for key in ("exclude", "excludepkgs"):
            found += _rule(path, _words(parser.get("main", key, fallback="")), "exclude")
    for name, repository in repositories().items():
        if repository["enabled"]:
            found += _rule(repository["path"], repository["excludes"], "exclude of %s" % name)
    path, lines = _lock_lines()
    for line, ours in lines:
        if not ours:
            kind = "exclude" if line[0] == "!" else "lock"
            found += _rule(path or LOCK_TABLE, [line.lstrip("!")], kind)
    return found


def _rule(path, names, kind):
    return [{"path": path, "names": names, "pin": kind, "priority": -1}] if names else []


def ready_modules(request, releases, there):
    """Return None: no index of this family is looked into for ready modules."""
    del request, releases, there
