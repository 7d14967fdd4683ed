"""Enterprise Linux: everything that dnf, rpm, dkms and their kin are asked, by command line."""

import contextlib
import functools
import glob
import os
import re
import tempfile

from . import locks, rpm_locks, rpm_table
from .base import Outcome, Preview, Refreshed, command, last_lines, listed
from .files import current, write
from .names import fits, matches

NAMES = {"manager": "dnf", "database": "rpm"}
LOCKS = ("/var/lib/rpm/.rpm.lock",)
# Files with the number of the process that works; dnf takes no lock on them.
PROCESS_FILES = ("/var/cache/dnf/*.pid", "/var/lib/dnf/*.pid")
STREAMS = "/etc/dnf/modules.d/%s.module"
ALTERNATIVES = "/var/lib/alternatives/%s"
REPOSITORY = "gpuprep-nvidia"
WORKS_ELSEWHERE = 200  # what dnf ends with when it was told not to wait for another
DNF = [
    "dnf",
    "--setopt=exit_on_lock=1",
    "--setopt=install_weak_deps=0",
    "--setopt=clean_requirements_on_remove=0",  # what came with a package that goes stays
]
# Yes to the keys of repositories that are read for the first time: each names its own file.
QUERY = [*DNF, "-qy"]
ERASING = "--allowerasing"
KERNEL = re.compile(r"^kernel(-uek|-rt|-64k|-debug|-core|-modules)*(-[a-z]+)?$")
NO_KERNEL = re.compile(r"-(devel|devel-matched|headers|tools|tools-libs|doc|srpm-macros)$")
NAMED_BY_RELEASE = re.compile(r"^kernel-.*devel")
MISSING = re.compile(
    r"No match for argument: (\S+)|Unable to find a match|missing groups or modules"
)
NO_MATCH = re.compile(r"No match for argument: (\S+)")
RELEASE = re.compile(r"-release(-|$)")  # what packages are called that bring repositories
TELLING = ("Error:", " Problem", "  - ", "No match", "All matches", "Failed", "GPG", "The GPG")
FILTERED = re.compile(r"filtered out by (modular|exclude) filtering for argument: (\S+)")
TWIN = re.compile(r"i\d86$")  # for 32-bit programs, beside the packages of the host's own
ISA = re.compile(r"\((?:x86-64|aarch-64)\)$")
# Where Enterprise Linux keeps what other packages are built with.
BUILDER = re.compile(r"codeready|^crb$|^powertools$", re.I)
# A mirror that is being written, or one that did not answer.
UNSETTLED = re.compile(r"checksum doesn't match|Curl error|Status code: 5")
# What the index names is not there any more: it is older than the archive.
MOVED_ON = re.compile(r"Status code: 4(04|10)\b|checksum doesn't match")


class _Prepared:
    """What was done ahead of a transaction, until it has been made.

    Attributes:
        files: content of files before, by path; None where there was no file.
        pretended: whether only was looked: streams and locks are as they were.

    """

    def __init__(self):
        self.files = {}
        self.pretended = False

    def note(self, path):
        """Keep what a file is now."""
        self.files.setdefault(path, current(path)[0])


PREPARED = _Prepared()


def retreat():
    """Take back what was prepared for a transaction that was not made; return the files."""
    noted, PREPARED.files = PREPARED.files, {}
    changed = []
    for path, was in noted.items():
        now = current(path)[0]
        if now == was:
            continue
        changed.append(path)
        if was is None:
            os.unlink(path)
        else:
            write(path, was, 0o644, (0, 0))
    return changed


def lock_holder():
    """Return who holds the package manager's locks: {path, pid, command}, None when free."""
    held = locks.holder(LOCKS)
    return held or locks.named_holder([p for form in PROCESS_FILES for p in glob.glob(form)])


def _dnf(argv):
    """Return the outcome of dnf; where another dnf is at work, it is waited for."""
    return locks.patiently(lambda: command(argv), lambda found: found.code == WORKS_ELSEWHERE)


def _rows():
    """Return name, version and full name of every package, oldest first.

    Those for 32-bit programs are left out: they may be of another version, and decide nothing.
    """
    form = "%{NAME}\\t%{EVR}\\t%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n"
    lines = command(["rpm", "-qa", "--qf", form]).out.splitlines()
    rows = [tuple(line.split("\t")) for line in lines if line.count("\t") == 2]
    return [row for row in rows if not TWIN.match(row[2].rpartition(".")[2])]


def installed():
    """Return installed packages: name to version; kernel trees also by name and release."""
    found = {}
    for name, version, full in _rows():
        found[name] = version
        if NAMED_BY_RELEASE.match(name):
            found[full] = version
    return found


def _twice():
    """Return packages that are there in several versions: name and architecture to versions."""
    found = {}
    form = "%{NAME}.%{ARCH}\\t%{EVR}\\t[%{PROVIDENAME} ]\\n"
    for line in command(["rpm", "-qa", "--qf", form]).out.splitlines():
        name, version, provides = (line.split("\t") + ["", ""])[:3]
        if "installonlypkg(" in provides or name.startswith(("kernel", "gpg-pubkey")):
            continue
        found.setdefault(name, []).append(version)
    return {name: versions for name, versions in found.items() if len(versions) > 1}


def unfinished():
    """Return packages that an interrupted transaction left twice: name to state."""
    return {name.rpartition(".")[0]: "duplicated" for name in _twice()}


def finish():
    """Finish an interrupted transaction: the older of two goes; return the outcome.

    dnf installs the newer one again, which it cannot where no repository offers it any more or a
    lock hides it; then rpm alone removes the older, as the update would have done at its end.
    """
    outcome = _dnf([*DNF, "-qy", "remove", "--duplicates"])
    older = []
    for name, versions in sorted(_twice().items()):
        package, _, arch = name.rpartition(".")
        kept = newest(versions)
        older += ["%s-%s.%s" % (package, v.split(":")[-1], arch) for v in versions if v != kept]
    return command(["rpm", "-e", "--nodeps", *older]) if older else outcome


def _offers(forms, fields):
    """Return fields of the packages that repositories offer, as lists."""
    query = "\\t".join("%%{%s}" % field for field in fields)
    argv = [*QUERY, "repoquery", "--qf", query + "\\n", *forms]
    rows = (line.split("\t") for line in _dnf(argv).out.splitlines())
    return [row for row in rows if len(row) == len(fields)]


def available(names):
    """Return versions that the package index offers: name to set."""
    found = {}
    for name, version, arch in _offers(names, ("name", "evr", "arch")) if names else ():
        if not TWIN.match(arch):
            found.setdefault(name, set()).add(_plain(version))
    return {name: found[name] for name in names if name in found}


def _plain(version):
    """Return a version in rpm's own form: an epoch only where there is one."""
    return version[2:] if version.startswith("0:") else version


def _parts(version):
    epoch, _, rest = version.rpartition(":")
    upstream, _, release = rest.rpartition("-")
    return int(epoch or 0), upstream or rest, release if upstream else ""


def _older(left, right):
    """Return whether a version or release is older than another, as rpm judges."""
    words = [re.sub(r"[^\w.+~^-]", "", text) for text in (left, right)]
    out = command(["rpm", "--eval", "%%{lua:print(rpm.vercmp('%s', '%s'))}" % tuple(words)]).out
    return out.strip() == "-1"


def newest(versions):
    """Return the newest of some versions."""

    def compare(left, right):
        for a, b in zip(_parts(left), _parts(right)):
            if a == b:
                continue
            older = a < b if isinstance(a, int) else _older(a, b)
            return -1 if older else 1
        return 0

    return max(versions, key=functools.cmp_to_key(compare))


def counterpart(version, versions):
    """Return the one of some versions that is of another's release, None without one.

    Add-ons have no epoch, and releases may differ: the upstream version decides.
    """
    fitting = [other for other in versions if _parts(other)[1] == _parts(version)[1]]
    return newest(fitting) if fitting else None


def needed(exact, version):
    """Return packages that these need, directly or not, and that a release has: with versions."""
    argv = [*QUERY, "repoquery", "--qf", "\\n@@%{name}\\t%{evr}\\n%{requires}"]
    out = _dnf([*argv, "*-%s-*" % _parts(version)[1]]).out
    offered, needs = {}, {}
    for block in out.split("\n@@"):
        head, _, rest = block.partition("\n")
        name, tab, found = head.lstrip("@").partition("\t")
        if tab:
            known = offered.get(name)
            offered[name] = newest([known, _plain(found)]) if known else _plain(found)
            needs[name] = {ISA.sub("", line.split()[0]) for line in rest.splitlines() if line}
    whole, todo = dict(exact), list(exact)
    while todo:
        for name in needs.get(todo.pop(), ()):
            if name in offered and name not in whole:
                whole[name] = offered[name]
                todo.append(name)
    return whole


def awaited(names):
    """Return no packages: dnf makes a transaction whatever else is broken."""
    del names
    return []


def refresh():
    """Read the package index again; a repository that may be unavailable is none's failure."""
    outcome = _dnf([*QUERY, "makecache", "--refresh"])
    text = last_lines(outcome, 6, TELLING)
    return Refreshed(outcome.code == 0, bool(UNSETTLED.search(text)), text)


def _words(transaction, there):
    """Return what a transaction installs, as dnf takes it; what is there stays as it is."""
    return [
        "%s-%s" % (name, version) if version else name
        for name, version in transaction["install"].items()
        if version or name not in there
    ]


@contextlib.contextmanager
def _arguments(transaction, there):
    """Give the end of dnf's command line for a transaction, None where it is empty."""
    words = _words(transaction, there)
    remove = [name for name in transaction["remove"] if name in there]
    if not remove:
        yield ["install", "--", *words] if words else None
        return
    if not words:
        yield ["remove", "--", *remove]
        return
    # Both in one transaction, which only dnf's shell can.
    with tempfile.NamedTemporaryFile("w", prefix="gpuprep-", suffix=".dnf") as script:
        script.write("install %s\nremove %s\nrun\n" % (" ".join(words), " ".join(remove)))
        script.flush()
        yield ["shell", script.name]


def preview(transaction):
    """Return what a transaction would do, made so that it can be done.

    EPEL's dkms wants the tree that matches a kernel wherever there is one, and dnf would bring the
    newest kernel for that: then the tree of one that is there is named in the transaction.
    """
    found = _preview(transaction)
    if not found.ok and not found.missing and not transaction.get("erasing"):
        # What is there may conflict with what comes; then that goes, and the preview tells it.
        transaction["erasing"] = True
        found = _preview(transaction)
    if "dkms" in found.installs and any(map(is_kernel, found.installs)):
        tree = _matching_tree()
        transaction["install"].update(tree)
        found = _preview(transaction) if tree else found
    return found


def _matching_tree():
    """Return the matching tree of the newest kernel that is installed and has one on offer."""
    kernels = [version for name, version, _ in _rows() if name == "kernel-core"]
    offered = available(["kernel-devel-matched"]).get("kernel-devel-matched", ())
    fitting = [version for version in kernels if version in offered]
    return {"kernel-devel-matched": newest(fitting)} if fitting else {}


def _preview(transaction):
    there = installed()
    _dnf([*QUERY, "makecache"])  # what was never read: only this may say yes to its key
    options, main = [], transaction.get("main")
    if PREPARED.pretended:
        options = ["--disableplugin=versionlock", "--setopt=%s.module_hotfixes=1" % REPOSITORY]
    elif main and rpm_locks.stands_for(main["owner"], main["locks"]):
        options = ["--disableplugin=versionlock"]  # the lock makes room when its turn comes
    if transaction.get("erasing"):
        options.append(ERASING)
    with _arguments(transaction, there) as arguments:
        if arguments is None:
            return rpm_table.NOTHING
        outcome = _dnf([*DNF, *options, "--assumeno", *arguments])
    found = rpm_table.read(outcome.out)
    text = last_lines(outcome, 12, TELLING).replace("Error: Operation aborted.", "").strip()
    errors = [line for line in outcome.err.splitlines() if line.startswith("Error:")]
    ok = all(line == "Error: Operation aborted." for line in errors)
    ok = ok and (outcome.code == 0 or "Operation aborted." in outcome.out + outcome.err)
    missing = bool(MISSING.search(outcome.out + outcome.err))
    return Preview(ok and not missing, missing, found.installs, found.removes, [], text)


def may_become_possible(found, transaction):
    """Return whether packages that come first may make a transaction possible.

    They bring repositories, whose packages nothing provides before, and which has no match.
    """
    if "nothing provides " in found.text:
        return not found.ok
    there = installed()
    brings = [name for name in transaction["install"] if RELEASE.search(name) and name not in there]
    locked = (transaction["main"].get("locked") or {}).get("patterns") or ()
    absent = NO_MATCH.findall(found.text)
    return bool(brings and absent) and not any(matches(name, locked) for name in absent)


def carry_out(transaction):
    """Make a transaction; return the command's outcome."""
    with _arguments(transaction, installed()) as arguments:
        if arguments is None:
            return Outcome(0, "", "")
        options = [ERASING] if transaction.get("erasing") else []
        outcome = _dnf([*DNF, "-y", *options, *arguments])
    if outcome.code != 0:
        return outcome._replace(err=last_lines(outcome, 8, TELLING))
    if not transaction.get("is_first"):  # else what follows may yet fail
        PREPARED.files.clear()
    return _really(outcome, transaction)


def has_moved_on(outcome):
    """Return whether a transaction failed, nothing done, for an index older than the archive."""
    return outcome.code != 0 and MOVED_ON.search(outcome.out + outcome.err) is not None


def held():
    """Return no packages: what a version lock keeps, no transaction finds another version of."""
    return set()


def _really(outcome, transaction):
    """Return a failure where dnf ended well and packages are not as asked for."""
    there = installed()
    absent = [
        name
        for name, version in transaction["install"].items()
        if name not in there or not fits(there[name], version)
    ]
    # What a package provides has no name of its own in the database.
    absent = [n for n in absent if command(["rpm", "-q", "--whatprovides", n]).code != 0]
    left = [name for name in transaction["remove"] if name in there]
    if not absent and not left:
        return outcome
    text = "it ended well, but %s" % "; ".join(
        "%s: %s" % (what, listed(names))
        for what, names in (("not installed", absent), ("still there", left))
        if names
    )
    return Outcome(1, outcome.out, "%s. %s" % (text, last_lines(outcome, 4, TELLING)))


def leftovers(names):
    """Return those of some packages that are there; configuration stays with nobody."""
    there = installed()
    return [name for name in names if name in there]


def purge(names):
    """Remove packages; return the command's outcome."""
    return _dnf([*DNF, "-y", "remove", "--", *names])


# --- version locks and module streams -------------------------------------------------------------


def prepare(operation, check):
    """Let version locks of ours make room for a transaction; the hold that follows sets them."""
    owner = operation.get("owner")
    if not owner or not rpm_locks.stands_for(owner, operation.get("locks") or ()):
        return
    if check:
        PREPARED.pretended = True
        return
    path = rpm_locks.path()
    PREPARED.note(path)
    rpm_locks.put(owner, operation.get("locks") or ())


def unheld(operation):
    """Return the lines that the owner's block should have, where it has others.

    A line that leaves a whole branch is good for the transaction; afterwards the lines keep what it
    installed. After a failure (``keep``) a block that is there stays: it fits what is installed.
    """
    there, lines = rpm_locks.block(operation["owner"]), operation.get("lines")
    if operation.get("keep"):
        lines = there
    members = {n: v for n, v, _ in sorted(_rows()) if matches(n, operation["patterns"])}
    if lines and members:
        upstream = [_parts(version)[1] for version in members.values()]
        shared = max(sorted(set(upstream)), key=upstream.count)
        lines = [rpm_locks.at_version(line, shared) for line in lines]
    if not lines:
        lines = [rpm_locks.line_of(*member) for member in sorted(members.items())]
    return [] if there == list(lines) else list(lines)


def hold(operation, lines):
    """Keep packages at their version, by a block of our own in the list; return the outcome."""
    rpm_locks.put(operation["owner"], lines)
    return Outcome(0, "", "")


def enabled_stream(name):
    """Return the stream of a module that is enabled, None without one."""
    text = (current(STREAMS % name)[0] or b"").decode("utf-8", "replace")
    fields = dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.M))
    return fields.get("stream") or None if fields.get("state") == "enabled" else None


def enable_stream(name, stream, check):
    """Enable a stream of a module, on purpose in place of another; return the outcome."""
    if check:
        PREPARED.pretended = True
        return Outcome(0, "", "")
    PREPARED.note(STREAMS % name)
    outcome = Outcome(0, "", "")
    if enabled_stream(name):  # dnf refuses to switch, so it is told to forget first
        outcome = _dnf([*QUERY, "module", "reset", name])
    if outcome.code == 0:
        outcome = _dnf([*QUERY, "module", "enable", "%s:%s" % (name, stream)])
    return outcome


# --- kernel modules -------------------------------------------------------------------------------


def is_kernel(name):
    """Return whether a package is a kernel or a part of one."""
    return KERNEL.match(name) is not None and NO_KERNEL.search(name) is None


def _registered(name):
    """Return the version that DKMS should have of the driver's module."""
    out = command(["rpm", "-q", "--whatprovides", name + "-kmod", "--qf", "%{VERSION}\\n"])
    return out.out.split("\n", 1)[0].strip() if out.code == 0 else None


def is_built(kernel, name):
    """Return whether DKMS has installed this driver's module for a kernel."""
    version = _registered(name)
    form = r"^%s[/,] ?%s, %s, .*: installed" % tuple(map(re.escape, (name, version or "", kernel)))
    status = command(["dkms", "status", "-k", kernel]).out
    return re.search(form, status, re.M) is not None


def build_module(kernel, name):
    """Build what is registered for a kernel; return the command's outcome."""
    version = _registered(name)
    if version is None:
        return Outcome(1, "", "no package with the sources of the module %s is installed" % name)
    words = ["-m", name, "-v", version]
    if name + "/" + version not in command(["dkms", "status"]).out.replace(", ", "/", 1):
        command(["dkms", "add", *words])
    return command(["dkms", "install", *words, "-k", kernel, "--force"])


def rebuild_initramfs(kernel):
    """Make the initial RAM disk of a kernel anew; return the command's outcome."""
    return command(["dracut", "--force", "--kver", kernel])


def build_logs():
    """Return paths of logs of kernel module builds."""
    logs = [p for p in glob.glob("/var/lib/dkms/*/*/build/make.log") if os.path.isfile(p)]
    return logs + glob.glob("/var/lib/dkms/*/*/*/*/log/make.log")


# --- the rest -------------------------------------------------------------------------------------


def default_link(name):
    """Return the value of a link group when it is fixed to one, else None."""
    mode = (current(ALTERNATIVES % name)[0] or b"").split(b"\n", 1)[0].strip()
    link = "/etc/alternatives/" + name
    return os.readlink(link) if mode == b"manual" and os.path.islink(link) else None


def set_default_link(name, value):
    """Fix a link group to a value; return the command's outcome."""
    return command(["alternatives", "--set", name, value])


def _disabled():
    """Return the repositories that are there and not enabled."""
    out = command([*DNF, "-q", "-C", "repolist", "--disabled"]).out  # a hint waits for nobody
    return [line.split()[0] for line in out.splitlines()[1:] if line.strip()]


def explain(text, transaction):
    """Return what helps with a transaction that cannot be made, as sentences."""
    parts = []
    exact = {name: version for name, version in transaction["install"].items() if version}
    offers = available(sorted(exact)) if exact and MISSING.search(text) else {}
    for name, versions in sorted(offers.items()):
        if not any(fits(version, exact[name]) for version in versions):
            parts.append("The repositories offer %s in: %s." % (name, ", ".join(sorted(versions))))
    kinds = {kind for kind, _ in FILTERED.findall(text)}
    if "modular" in kinds:
        parts.append("Another module stream hides them (dnf module list --enabled).")
    if "exclude" in kinds:
        parts.append(
            "An exclude or a version lock hides them (excludepkgs in /etc/dnf/dnf.conf and"
            " /etc/yum.repos.d, lines of %s)." % rpm_locks.path()
        )
    if re.search(r"nothing provides dkms\b", text):
        parts.append("dkms comes from EPEL, which this host has no repository of.")
    elif re.search(r"nothing provides ", text):
        builders = [name for name in _disabled() if BUILDER.search(name)]
        if builders:
            parts.append(
                "Perhaps a repository has it that is disabled here: dnf config-manager"
                " --set-enabled %s" % builders[0]
            )
    gone = re.search(r"No match for argument: (kernel-\S*devel\S*)", text)
    if gone:
        parts.append(
            "The repositories no longer have %s: upgrade the kernel, reboot, and run again."
            % gone.group(1)
        )
    return " ".join(parts)


def repair(packages, does_not_build):
    """Return commands that bring the package database back to a whole state."""
    del does_not_build
    if packages:
        return ["dnf remove --duplicates", "dnf check"]
    return ["dnf check"]
