"""One package transaction: worked out and looked at before it is made. Neutral; see family.py."""

import os
import re
import time

from . import family, files
from .base import OperationError, command, done, last_lines, listed
from .names import fits, matches, plain

RECENT_SECONDS = 7200  # how old a build log may be to explain a failure of now
REFRESH_TRIES = 3
REFRESH_PAUSE = 20
COMPILER_ERROR = re.compile(
    r"(\berror:|fatal error|^ERROR|undefined!|No rule to make target)", re.I
)


def _backend(context):
    return family.backend(context.family)


def wait_for_locks(context):
    """Wait until nobody works on packages, or fail and name who does."""
    backend = _backend(context)
    deadline = time.monotonic() + context.lock_timeout
    while True:
        holder = backend.lock_holder()
        if holder is None:
            return
        if time.monotonic() >= deadline:
            raise OperationError(
                "E_PACKAGES_LOCKED",
                "the package manager is still locked after %d s: %s is held by %s (pid %s)."
                " Nothing was changed; let it end, or raise gpuprep_lock_timeout."
                % (context.lock_timeout, holder["path"], holder["command"], holder["pid"]),
            )
        time.sleep(1)


def first_boot(operation, context):
    """Wait until cloud-init, which sets up repositories and packages too, has ended."""
    folder = operation["folder"]
    if context.check:
        return done("would wait for cloud-init")
    started = time.monotonic()
    while os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "result.json")):
        stage = command(["systemctl", "show", "--property=ActiveState", "cloud-final.service"])
        if re.search(r"=(active|failed)$", stage.out, re.M):
            return done("cloud-init broke: nothing will write its result")
        if time.monotonic() - started >= context.lock_timeout:
            raise OperationError(
                "E_FIRST_BOOT",
                "cloud-init has not ended its first boot after %d s. No package was changed; see"
                " `cloud-init status --long`, let it end, or raise gpuprep_lock_timeout."
                % context.lock_timeout,
            )
        time.sleep(1)
    return done("cloud-init ended after %d s" % (time.monotonic() - started))


def finish_interrupted(context):
    """Finish what an interrupted transaction left; whether there was anything."""
    backend = _backend(context)
    if not backend.unfinished():
        return False
    outcome = backend.finish()
    if outcome.code != 0:
        raise OperationError(
            "E_PACKAGES",
            "an interrupted transaction cannot be finished: %s" % last_lines(outcome),
        )
    return True


def refresh(context):
    """Read the package index again; when that fails, the repository's files are taken back."""
    try:
        _refresh(_backend(context))
    except OperationError as error:
        paths = files.take_back()
        if not paths:
            raise
        back = "Taken back, so that the host's other packages can be updated: %s." % listed(paths)
        raise OperationError(error.code, "%s %s" % (error.message, back)) from error
    files.keep_replaced()


def _refresh(backend):
    for attempt in range(REFRESH_TRIES):
        answer = backend.refresh()
        if answer.ok:
            return
        if not answer.transient or attempt + 1 == REFRESH_TRIES:
            break
        time.sleep(REFRESH_PAUSE)
    text = "the package index cannot be refreshed: " + answer.text
    if answer.transient:
        text += " Try again in a few minutes."
    raise OperationError("E_PACKAGE_INDEX", text)


def locked_version(backend, operation, offered):
    """Return the full version that the locked set gets: the newest of its first that fits."""
    locked = operation["locked"]
    for package in operation["install"]:
        name, pattern = package["name"], package.get("version") or locked.get("version")
        if not matches(name, locked["patterns"]):
            continue
        fitting = [version for version in offered.get(name, ()) if fits(version, pattern)]
        if fitting:
            return backend.newest(fitting)
    return None


def members_of(current, patterns, remove):
    """Return installed packages of a set, with those of its release that the patterns miss."""
    names = [name for name in current if matches(name, patterns)]
    versions = [current[name] for name in names]
    release = max(set(versions), key=versions.count) if versions else None
    names += [n for n in current if current[n] == release and n not in names]
    return sorted(set(names) - set(remove))


def complete(backend, operation):
    """Return the transaction with every member of the locked set named."""
    wanted = {package["name"]: package.get("version") for package in operation["install"]}
    transaction = {"install": wanted, "remove": list(operation.get("remove") or ())}
    if operation.get("own"):
        transaction["own"] = list(operation["own"])
    locked = operation.get("locked")
    if not locked or not locked["patterns"]:
        return transaction
    current = backend.installed()
    members = members_of(current, locked["patterns"], transaction["remove"])
    offered = backend.available(sorted(set(members) | set(wanted)))
    version = locked_version(backend, operation, offered)
    if version is None:
        return transaction  # the preview says what is missing
    of_release = {
        name: backend.counterpart(version, offered.get(name, ()))
        for name in set(members) | {name for name in wanted if matches(name, locked["patterns"])}
    }
    exact = {name: of_release[name] for name in wanted if of_release.get(name)}
    exact.update(backend.needed(exact, version))
    for name in members:
        if name in exact or backend.counterpart(version, [current[name]]):
            continue
        if of_release[name]:
            exact[name] = of_release[name]
        else:
            transaction["remove"].append(name)
    wanted.update(sorted(exact.items()))
    transaction["remove"] = sorted(set(transaction["remove"]))
    return transaction


def is_there(backend, operation):
    """Return whether the packages are there as asked for and the others gone.

    A package manager would refuse even an empty transaction while packages that are repaired later
    are broken.
    """
    locked = operation.get("locked")
    current = backend.installed()
    return (
        not (locked and locked["patterns"])
        and not set(operation.get("remove") or ()) & set(current)
        and all(
            package["name"] in current and fits(current[package["name"]], package.get("version"))
            for package in operation["install"]
        )
    )


def looked_at(backend, transaction):
    """Return what a transaction would do.

    Raises:
        OperationError: packages would go that belong to somebody else, or others change that
            somebody else holds.

    """
    found = backend.preview(transaction)
    main = transaction.get("main") or {}
    own = [*(transaction.get("own") or main.get("own") or ["*"]), *transaction["remove"]]
    own += main.get("remove") or []

    def of_others(names):
        return {n for n in plain(names) if not matches(n, own) and not backend.is_kernel(n)}

    if not found.ok:
        return found
    strangers = of_others(found.removes)
    if strangers:
        raise OperationError(
            "E_FOREIGN_PACKAGES",
            "the transaction would take away %s: in the way of what changes, and no part of the"
            " driver, CUDA or cuDNN. It was not started: remove what is in the way, or ask for"
            " versions that go with it, then run again." % listed(sorted(strangers)),
        )
    changed = of_others(found.installs) - plain(transaction["install"])
    held = changed & plain(backend.held()) if changed else ()
    if held:
        raise OperationError(
            "E_HELD_PACKAGES",
            "the transaction would change %s: held, and no part of the driver, CUDA or cuDNN. It"
            " was not started: take that hold away, or ask for versions that go with what is"
            " there, then run again." % listed(sorted(held)),
        )
    return found


def cannot_be_made(backend, preview, transaction):
    """Return the failure of a transaction that was only looked at."""
    parts = [
        "the transaction cannot be made, so it was not started:",
        preview.text,
        backend.explain(preview.text, transaction),
    ]
    return OperationError("E_PACKAGES", " ".join(part for part in parts if part))


def look_ahead(backend, operation, context, may_refresh):
    """See that what later transactions need is offered: pins would stay behind otherwise.

    Return whether a refresh is still worth it, the transaction of them all and its preview; None
    without any. What cannot be made, and cannot become possible by what comes first, is refused
    before that.
    """
    if not operation.get("rest") or context.check:
        return may_refresh, None, None
    transaction, found = _ahead(backend, operation)
    if found.missing and may_refresh:
        refresh(context)
        may_refresh = False
        transaction, found = _ahead(backend, operation)
    if not (found.ok or backend.may_become_possible(found, transaction)):
        raise cannot_be_made(backend, found, transaction)
    return may_refresh, transaction, found


def _ahead(backend, operation):
    """Return a transaction with what later ones install, and its preview: the first possible."""
    rest = operation["rest"]
    first = complete(backend, operation)["install"]
    later = {package["name"]: package.get("version") for package in rest["install"]}
    whole = complete(backend, rest)
    candidates = []
    if len(whole["install"]) > len(later):
        # A package manager chooses by pins, which are not there yet, what is not named.
        named = dict(whole["install"], **first)
        exact = {"install": named, "remove": whole["remove"], "main": rest}
        more = {one["name"]: one.get("version") for one in rest.get("together") or ()}
        if operation.get("pins"):
            candidates.append(dict(exact, install=dict(more, **named), makes=rest))
        if more or not operation.get("pins"):
            candidates.append(exact)
    candidates.append({"install": dict(later, **first), "remove": [], "main": rest})
    for transaction in candidates:
        found = looked_at(backend, transaction)
        if found.ok:
            break
    return transaction, found


def _is_settled(backend, operation, transaction, found):
    """Return whether pins have nothing to decide: all that they pin is new, and at one version.

    What they come before can then be installed with them.
    """
    if not transaction.get("makes") or not found.ok or found.removes:
        return False
    patterns = operation["rest"]["locked"]["patterns"]
    pins = {package["name"] for package in operation["install"]}
    versions = {v for n, v in found.installs.items() if n not in pins and matches(n, patterns)}
    return (
        len(versions) == 1
        and not any(matches(name, patterns) for name in backend.installed() if name not in pins)
        and not _kernels(backend, _joined(operation), found)
    )


def _part_of(whole, operation, backend):
    """Return the preview of an operation out of one of more, None where that does not tell it.

    What comes first and needs nothing but itself would be looked at a second time for nothing.
    """
    asked = [package["name"] for package in operation["install"]]
    if whole is None or not whole.ok or whole.removes or not set(asked) <= set(whole.installs):
        return None
    if backend.awaited(sorted(whole.installs)):
        return None  # the others may mend what would stop these
    if any(backend.is_kernel(name) for name in whole.installs):
        return None
    return whole._replace(installs={name: whole.installs[name] for name in asked}, pending=[])


def _previewed(backend, operation):
    """Return a transaction, with what later roles of the run install, and its preview."""
    transaction = complete(backend, operation)
    later = {package["name"]: package.get("version") for package in operation.get("together") or ()}
    transaction["install"] = dict(later, **transaction["install"])
    return transaction, looked_at(backend, transaction)


def _kernels(backend, operation, preview):
    """Return packages of a kernel that a transaction would change unasked."""
    asked = {package["name"] for package in operation["install"]}
    unasked = (set(preview.installs) - asked) | set(preview.removes)
    return sorted(name for name in unasked if backend.is_kernel(name))


def _looked(backend, operation):
    """Return a transaction and its preview; what is wrong with later roles' part, those tell."""
    transaction, preview = _previewed(backend, operation)
    if operation.get("together") and (not preview.ok or _kernels(backend, operation, preview)):
        transaction, preview = _previewed(backend, dict(operation, together=[]))
    return transaction, preview


def _joined(operation):
    """Return an operation that comes before the rest as one with it."""
    rest = operation["rest"]
    return dict(rest, install=list(operation["install"]) + list(rest["install"]))


def look(operation, context):
    """Return a transaction that can be made, and its preview."""
    backend = _backend(context)
    may_refresh = not context.check
    if operation.get("refresh") and may_refresh:
        refresh(context)
        may_refresh = False
    may_refresh, all_of_them, whole = look_ahead(backend, operation, context, may_refresh)
    if whole is not None and _is_settled(backend, operation, all_of_them, whole):
        return all_of_them, whole
    part = _part_of(whole, operation, backend)
    if part is not None:
        return dict(complete(backend, operation), is_first=True), part
    transaction, preview = _looked(backend, operation)
    if not preview.ok and preview.missing and may_refresh:
        refresh(context)
        transaction, preview = _looked(backend, operation)
    if not preview.ok and not preview.missing and operation.get("rest"):
        # A package manager may refuse whatever leaves packages broken that only the rest mends.
        joined = _joined(operation)
        found = _looked(backend, joined)
        if found[1].ok:
            operation, (transaction, preview) = joined, found
    if not preview.ok:
        raise cannot_be_made(backend, preview, transaction)
    kernels = _kernels(backend, operation, preview)
    if kernels:
        raise OperationError(
            "E_KERNEL_CHANGE",
            "the transaction would change the kernel (%s), which gpuprep never does unasked. It was"
            " not started; update the kernel and reboot first, then run again."
            % ", ".join(kernels),
        )
    if operation.get("rest"):
        transaction["is_first"] = True
    return transaction, preview


def packages(operation, context):
    """Bring packages to their versions and others away, in one transaction."""
    result = _packages(operation, context)
    if not context.check and not operation.get("rest"):
        files.keep_replaced()  # with these sources the package manager works
    return result


def _packages(operation, context):
    backend = _backend(context)
    wait_for_locks(context)
    finished = not context.check and finish_interrupted(context)
    if operation in context.made:
        return done("installed together with its pins")
    nothing = "finished an interrupted transaction" if finished else "all packages are as planned"
    purged = purge({"names": operation.get("purge") or []}, context)["items"]
    if is_there(backend, operation):
        return done(nothing, purged, changed=finished or purged)
    backend.prepare(operation, context.check)
    transaction, preview = look(operation, context)
    if not (preview.installs or preview.removes or preview.pending):
        return done(nothing, purged, changed=finished or purged)
    if not context.check:
        outcome = backend.carry_out(transaction)
        if backend.has_moved_on(outcome):
            # Whoever reads the index every few days is in between; nothing was unpacked yet.
            refresh(context)
            transaction, preview = look(dict(operation, refresh=False), context)
            outcome = backend.carry_out(transaction)
        if outcome.code != 0:
            raise OperationError(
                "E_PACKAGES",
                "the package manager failed (exit %d): %s" % (outcome.code, last_lines(outcome)),
            )
        if transaction.get("makes"):
            context.made.append(transaction["makes"])
    return done(*_summary(preview), changed=True)


def _summary(preview):
    """Return a sentence and the items of a transaction."""
    installs = ["%s %s" % item for item in sorted(preview.installs.items())]
    removes = sorted(preview.removes)
    parts = []
    if installs:
        parts.append("installed %s" % listed(installs))
    if removes:
        parts.append("removed %s" % listed(removes))
    if not parts:
        parts.append("configured %s" % listed(sorted(preview.pending)))
    return "; ".join(parts), installs + ["-" + name for name in removes]


def purge(operation, context):
    """Remove packages with their configuration."""
    backend = _backend(context)
    names = backend.leftovers(operation["names"]) if operation["names"] else []
    if names and not context.check:
        wait_for_locks(context)
        outcome = backend.purge(names)
        if outcome.code != 0:
            raise OperationError(
                "E_PACKAGES", "%s cannot be removed: %s" % (listed(names), last_lines(outcome))
            )
    detail = "removed %s with its configuration" % listed(names) if names else "nothing to remove"
    return done(detail, names)


def hold(operation, context):
    """Hold every installed package that matches, so that no upgrade can move one alone."""
    backend = _backend(context)
    names = backend.unheld(operation)
    if names and not context.check:
        outcome = backend.hold(operation, names)
        if outcome.code != 0:
            raise OperationError("E_PACKAGES", "packages cannot be held: %s" % last_lines(outcome))
    return done("held %s" % listed(names) if names else "all packages are held", names)


def stream(operation, context):
    """Enable a module stream, and with it the packages that a branch of the driver has."""
    backend = _backend(context)
    name, _, wanted = operation["stream"].partition(":")
    before = backend.enabled_stream(name)
    wait_for_locks(context)
    if operation.get("refresh") and not context.check:
        refresh(context)
    if before == wanted:
        return done("stream %s is enabled" % operation["stream"])
    outcome = backend.enable_stream(name, wanted, context.check)
    if outcome.code != 0 and not operation.get("refresh"):
        refresh(context)  # the repository may have it by now
        outcome = backend.enable_stream(name, wanted, context.check)
    if outcome.code != 0:
        raise OperationError(
            "E_PACKAGES",
            "the stream %s cannot be enabled: %s" % (operation["stream"], last_lines(outcome)),
        )
    instead = " instead of %s" % before if before else ""
    return done("enabled stream %s%s" % (operation["stream"], instead), [operation["stream"]])


def module_files(name, kernel, modules="/lib/modules"):
    """Return paths of a kernel module, built for a kernel."""
    pattern = re.compile(r"^%s\.ko(\.(gz|xz|zst))?$" % re.escape(name).replace("_", "[-_]"))
    return [
        os.path.join(top, entry)
        for top, _, entries in os.walk(os.path.join(modules, kernel))
        for entry in entries
        if pattern.match(entry)
    ]


def module(operation, context):
    """Build the kernel module, and see that it is there: builds can fail without a word."""
    kernel, name = operation["kernel"], operation.get("name") or "nvidia"
    backend = _backend(context)
    if operation.get("verify") and (context.check or backend.is_built(kernel, name)):
        return done("%s is built for kernel %s" % (name, kernel))
    if context.check:
        return done("build %s for kernel %s" % (name, kernel), [kernel])
    outcome = backend.build_module(kernel, name)
    if outcome.code != 0 or not module_files(name, kernel):
        raise OperationError(
            "E_MODULE_BUILD",
            "no module %s was built for kernel %s: %s" % (name, kernel, last_lines(outcome)),
        )
    return done("built %s for kernel %s" % (name, kernel), [kernel])


def first_compiler_error(logs, since):
    """Return the newest build log with an error and its first error line, else (None, None)."""
    for path in sorted(logs, key=os.path.getmtime, reverse=True):
        if os.path.getmtime(path) < time.time() - since:
            continue
        with open(path, "rb") as handle:
            for raw in handle:
                line = raw.decode("utf-8", "replace").strip()
                if COMPILER_ERROR.search(line):
                    return path, line
    return None, None


def diagnose(context):
    """Return why a package operation failed and how to repair it, in sentences; may be empty."""
    backend = _backend(context)
    log, error = first_compiler_error(backend.build_logs(), RECENT_SECONDS)
    unfinished, holder = backend.unfinished(), backend.lock_holder()
    parts = []
    if error:
        parts.append("The kernel module did not compile; first error: %s (%s)." % (error, log))
    if unfinished:
        names = ", ".join("%s (%s)" % item for item in sorted(unfinished.items()))
        parts.append("%s has not finished with: %s." % (backend.NAMES["database"], names))
        if error:
            parts.append(
                "The driver does not build for this kernel: choose another branch or kernel,"
                " then remove the half-installed packages."
            )
        commands = backend.repair(unfinished, bool(error))
        parts.append("Commands: %s" % " && ".join(commands))
    if holder:
        parts.append(
            "%s is held by %s (pid %s)." % (holder["path"], holder["command"], holder["pid"])
        )
    return " ".join(parts)
