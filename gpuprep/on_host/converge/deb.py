"""Debian and Ubuntu: everything that apt, dpkg, dkms and their kin are asked."""

import functools
import glob
import os
import re

from . import locks
from .base import Patience, Preview, Refreshed, command, last_lines, listed
from .names import fits, matches

NAMES = {"manager": "apt", "database": "dpkg"}
LOCKS = (
    *("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"),
    *("/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"),
)
# Only one of them does apt wait for, and dpkg for none.
LOCKED_OUT = re.compile(
    r"^E: Could not get lock |^dpkg: error: .*lock(ed by another process| was locked)", re.M
)
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
# Configuration files that an administrator changed stay; nobody is asked.
KEEP_CHANGED = ["--force-confdef", "--force-confold"]
INSTALL = [
    "apt-get",
    "install",
    "-q",
    "--no-install-recommends",
    "--allow-downgrades",
    "--allow-change-held-packages",
    "--ignore-hold",
]
QUIET = ["-y", "-o", "Acquire::Retries=3"]
for _option in KEEP_CHANGED:
    QUIET += ["-o", "Dpkg::Options::=" + _option]

MODULES = "/lib/modules"
SOURCES = "/usr/src/*/dkms.conf"
SETTING = re.compile(
    r"""^\s*(PACKAGE_NAME|PACKAGE_VERSION|(?:BUILT|DEST)_MODULE_NAME\[\d+\])=["']?([^"'\s#]+)""",
    re.M,
)
KEY_READER = "/usr/bin/sqv"  # its policy ends SHA-1's time on 2026-02-01
WHOLE = ("installed", "not-installed", "config-files")
KERNEL = re.compile(
    r"^linux-(?!(?:modules|objects|signatures)-nvidia-)"
    r"(image|modules|generic|oracle|virtual|aws|azure|gcp)([-:]|$)"
)
MISSING = re.compile(
    r"E: (Unable to locate package|Version '.*' for '.*' was not found|Package '.*' has no)"
)
BLOCKED = re.compile(
    r"(?:Package '|Depends: )([a-z0-9][a-z0-9+.-]+)(?:(?!Depends: ).)*?"
    r"(?:has no installation candidate|but it is not (?:installable|going to be installed))"
)
# What the index names is not there any more: it is older than the archive.
MOVED_ON = re.compile(
    r"^E: Failed to fetch \S+\s+"
    r"(4(04|10)\b|File not found|Hash Sum mismatch|File has unexpected size)",
    re.M,
)
REFRESH_SECONDS = 1800  # apt 2.6 waits forever where one address has a port that refuses
TIMED_OUT = 124
# A mirror that is being written; upstream says to try again after a few minutes.
UNSETTLED = re.compile(r"Mirror sync in progress|Hash Sum mismatch|unexpected size")


def lock_holder():
    """Return who holds the package manager's locks: {path, pid, command}, None when free."""
    return locks.holder(LOCKS)


def _patient(argv):
    """Return the outcome of a command that needs the package manager's locks."""
    return locks.patiently(
        lambda: command(argv, ENVIRONMENT),
        lambda found: found.code != 0 and LOCKED_OUT.search(found.err) is not None,
    )


def _rows(*fields):
    """Return the name and fields of every package that is known, as lists.

    As apt has it, a name is followed by the architecture where that is not the host's own.
    """
    form = "\\t".join("${%s}" % field for field in ("Package", "Architecture", *fields)) + "\\n"
    lines = command(["dpkg-query", "-W", "-f", form]).out.splitlines()
    rows = [line.split("\t") for line in lines]
    native = next((row[1] for row in rows if row[0] == "dpkg"), None)
    own = ("", "all", native)
    return [
        [name + ":" + arch if native and arch not in own else name, *rest]
        for name, arch, *rest in rows
    ]


def installed():
    """Return installed packages: name to version."""
    rows = _rows("db:Status-Status", "Version")
    return {name: version for name, state, version in rows if state == "installed"}


def held():
    """Return names of packages that are held."""
    return {name for name, wanted in _rows("db:Status-Want") if wanted == "hold"}


def unfinished():
    """Return packages in a state between absent and installed: name to state."""
    rows = _rows("db:Status-Status")
    return {name: state for name, state in rows if state not in WHOLE}


def finish():
    """Finish an interrupted transaction; return the command's outcome."""
    argv = ["dpkg"] + KEEP_CHANGED + ["--configure", "-a"]
    return _patient(argv)


def available(names):
    """Return versions that the package index offers: name to set."""
    found = {}
    for line in command(["apt-cache", "madison", "--"] + list(names)).out.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3:
            found.setdefault(parts[0], set()).add(parts[1])
    return found


def newest(versions):
    """Return the newest of some versions."""

    def compare(left, right):
        older = command(["dpkg", "--compare-versions", left, "lt", right]).code == 0
        return -1 if older else int(left != right)

    return max(versions, key=functools.cmp_to_key(compare))


def counterpart(version, versions):
    """Return the one of some versions that is of another's release: the same; None without it."""
    return version if version in versions else None


def needed(exact, version):
    """Return packages that these need, directly or not, in exactly this version: with versions."""
    found, todo = set(), set(exact)
    pattern = re.compile(r"^([a-z0-9][a-z0-9+.-]*)(?::\w+)? \(= %s\)$" % re.escape(version))
    while todo:
        found |= todo
        words = ["%s=%s" % (name, version) for name in sorted(todo)]
        out = command(["apt-cache", "show", "--"] + words).out
        groups = [
            group.strip()
            for line in re.findall(r"^(?:Pre-)?Depends: (.*)", out, re.M)
            for group in line.split(",")
        ]
        todo = {match.group(1) for match in map(pattern.match, groups) if match} - found
    return dict.fromkeys(found, version)


def awaited(names):
    """Return those of some packages that installed ones name among what they depend on."""
    words = set()
    for _, state, *groups in _rows("db:Status-Status", "Pre-Depends", "Depends"):
        if state == "installed":
            words.update(re.findall(r"[a-z0-9][a-z0-9+.-]+", " ".join(groups)))
    return [name for name in names if name.partition(":")[0] in words]


def refresh():
    """Read the package index again; unlike for apt-get, one source that fails is a failure."""
    argv = ["timeout", "--foreground", "-k", "10", str(REFRESH_SECONDS)]
    argv += ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"]
    outcome = _patient(argv + ["-o", "Acquire::Retries=3"])
    text = last_lines(outcome, 6, ("E:", "Err:", "W:"))
    if outcome.code == TIMED_OUT:
        text = "apt-get update had not ended after %d s. %s" % (REFRESH_SECONDS, text)
    return Refreshed(outcome.code == 0, bool(UNSETTLED.search(text)), text)


def _words(transaction):
    """Return a transaction as apt-get takes it."""
    words = [
        "%s=%s" % (name, version) if version else name
        for name, version in transaction["install"].items()
    ]
    return words + [name + "-" for name in transaction["remove"]]


def prepare(operation, check):
    """Do nothing: apt is told with each transaction that what is held may change."""
    del operation, check


def retreat():
    """Return no files: nothing was prepared."""
    return []


def preview(transaction):
    """Return what a transaction would do, from its simulation."""
    outcome = command(INSTALL + ["-s", "--"] + _words(transaction), ENVIRONMENT)
    installs = dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", outcome.out, re.M))
    removes = re.findall(r"^(?:Remv|Purg) (\S+)", outcome.out, re.M)
    pending = re.findall(r"^Conf (\S+)", outcome.out, re.M)
    text = last_lines(outcome, 12, ("E:", " ", "Depends"))
    missing = bool(MISSING.search(outcome.err))
    return Preview(outcome.code == 0, missing, installs, removes, pending, text)


def may_become_possible(found, transaction):
    """Return whether packages that come first may make a transaction possible: pins may."""
    del transaction
    return not (found.ok or found.missing)


def _lock_timeout():
    return ["-o", "DPkg::Lock::Timeout=%d" % Patience.seconds]


def carry_out(transaction):
    """Make a transaction; return the command's outcome."""
    return _patient(INSTALL + QUIET + _lock_timeout() + ["--"] + _words(transaction))


def has_moved_on(outcome):
    """Return whether a transaction failed, nothing done, for an index older than the archive."""
    return outcome.code != 0 and MOVED_ON.search(outcome.err) is not None


def leftovers(names):
    """Return those of some packages of which anything is there, be it only configuration."""
    known = dict(_rows("db:Status-Status"))
    return [name for name in names if known.get(name, "not-installed") != "not-installed"]


def purge(names):
    """Remove packages with their configuration; return the command's outcome."""
    argv = ["apt-get", "purge", "-q", "--allow-change-held-packages"]
    return _patient(argv + QUIET + _lock_timeout() + ["--"] + list(names))


def unheld(operation):
    """Return names of installed packages that should be held and are not."""
    there = held()
    return sorted(
        name for name in installed() if name not in there and matches(name, operation["patterns"])
    )


def hold(operation, names):
    """Keep packages at their version; return the command's outcome."""
    del operation
    return _patient(["apt-mark", "hold", "--"] + list(names))


def refuses_weak_keys():
    """Return whether apt refuses keys that are bound by SHA-1: where it asks sqv (apt 3)."""
    return os.path.exists(KEY_READER)


def is_kernel(name):
    """Return whether a package is a kernel or a part of one."""
    return KERNEL.match(name) is not None


def is_built(kernel, name):
    """Return True: a package whose module was not built is not installed."""
    del kernel, name
    return True


def _ready_modules(kernel):
    """Return installed packages with ready modules for a kernel, and what those are made from."""
    form = re.compile(r"^linux-(modules|objects|signatures)-nvidia-(.*-)?%s$" % re.escape(kernel))
    return sorted(name for name in installed() if form.match(name))


def _modules_of(path):
    """Return what a file of DKMS's calls its sources, their version, and the modules they make."""
    with open(path, encoding="utf-8", errors="replace") as handle:
        settings = dict(SETTING.findall(handle.read()))
    source = settings.get("PACKAGE_NAME", "")
    made = {
        settings.get(key.replace("BUILT", "DEST"), value)
        for key, value in settings.items()
        if key.startswith("BUILT")
    }
    made = {re.sub(r"\$(PACKAGE_NAME\b|\{PACKAGE_NAME\})", source, module) for module in made}
    return source, settings.get("PACKAGE_VERSION", ""), made


def _source(name):
    """Return which sources of an installed package make a module, and their version; else None."""
    paths = glob.glob(SOURCES)
    owners = command(["dpkg-query", "-S", "--", *paths]).out if paths else ""
    owned = sorted(set(paths) & {line.rpartition(": ")[2] for line in owners.splitlines()})
    found = [(source, version) for source, version, made in map(_modules_of, owned) if name in made]
    return found[0] if len(found) == 1 and all(found[0]) and "$" not in "".join(found[0]) else None


def _build_all(kernel, name):
    """Build all that is registered. Of others some may not build: files tell whether ours did."""

    def files():
        form = os.path.join(MODULES, glob.escape(kernel), "updates/dkms", name + ".ko*")
        return {path: os.stat(path).st_mtime for path in glob.glob(form)}

    before = files()
    outcome = command(["dkms", "autoinstall", "-k", kernel])
    after = files()
    return outcome._replace(code=0) if after and after != before else outcome


def build_module(kernel, name):
    """Build a module for a kernel, or unpack what came ready; return the outcome."""
    ready = _ready_modules(kernel)
    if ready:
        return _patient(INSTALL + ["--reinstall"] + QUIET + _lock_timeout() + ["--"] + ready)
    source = _source(name)
    if source is None:
        return _build_all(kernel, name)
    words = ["-m", source[0], "-v", source[1]]
    status = command(["dkms", "status"]).out
    registered = r"^%s(?:/|, )%s" % tuple(map(re.escape, source))  # a comma up to version 2
    if not re.search(registered + "[,:]", status, re.M):
        command(["dkms", "add", *words])
    elif re.search(registered + ", %s, .*: installed" % re.escape(kernel), status, re.M):
        command(["dkms", "uninstall", *words, "-k", kernel])  # else version 2 says it is there
    return command(["dkms", "install", *words, "-k", kernel, "--force"])


def rebuild_initramfs(kernel):
    """Make the initial RAM disk of a kernel anew; return the command's outcome."""
    return command(["update-initramfs", "-u", "-k", kernel])


def default_link(name):
    """Return the value of a link group when it is fixed to one, else None."""
    out = command(["update-alternatives", "--query", name]).out
    found = dict(re.findall(r"^(Status|Value): (.*)$", out, re.M))
    return found.get("Value") if found.get("Status") == "manual" else None


def set_default_link(name, value):
    """Fix a link group to a value; return the command's outcome."""
    return command(["update-alternatives", "--set", name, value])


def build_logs():
    """Return paths of logs of kernel module builds."""
    logs = [p for p in glob.glob("/var/lib/dkms/*/*/build/make.log") if os.path.isfile(p)]
    return logs + glob.glob("/var/lib/dkms/*/*/*/*/log/make.log")


def _is_forbidden(name):
    """Return whether a negative priority keeps a package out."""
    return bool(re.search(r"^\s+\S+ -\d+$", command(["apt-cache", "policy", name]).out, re.M))


def explain(text, transaction):
    """Return what helps with a transaction that cannot be made, as sentences."""
    parts = []
    headers = re.search(r"(?:locate package |Package ')(linux-headers-[^\s']+)", text)
    if headers:
        parts.append(
            "The archive no longer has %s: upgrade the kernel, reboot, and run again."
            % headers.group(1)
        )
    ready = re.search(r"(?:locate package |Package ')(linux-modules-nvidia-\S+?-(\d[^\s']*))", text)
    if ready:
        parts.append(
            "The archive has no modules of this driver for kernel %s (%s): boot a kernel that it"
            " has some for, or wait until it has." % (ready.group(2), ready.group(1))
        )
    exact = {name: version for name, version in transaction["install"].items() if version}
    offers = available(sorted(exact)) if exact and re.search(MISSING, text) else {}
    for name, versions in sorted(offers.items()):
        if not any(fits(version, exact[name]) for version in versions):
            parts.append("The repositories offer %s in: %s." % (name, ", ".join(sorted(versions))))
    forbidden = [name for name in re.findall(BLOCKED, text) if _is_forbidden(name)]
    if forbidden:
        files = command(
            ["grep", "-lsr", "Pin-Priority: *-", "/etc/apt/preferences.d", "/etc/apt/preferences"]
        ).out.split()
        parts.append(
            "A pin forbids %s (%s)."
            % (listed(sorted(set(forbidden))), ", ".join(sorted(files)) or "negative priority")
        )
    return " ".join(parts)


def repair(packages, does_not_build):
    """Return commands that bring the package database back to a whole state."""
    if does_not_build:
        return ["apt-get remove --purge " + " ".join(sorted(packages)), "dpkg --audit"]
    return ["dpkg --configure -a", "apt-get -f install"]
