"""conda: its installer, and environments as specified."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil

from . import files, folders
from .base import Later, OperationError, command, done, ended, listed

fetch = Later("fetch")

MAX_INSTALLER = 1 << 30  # bytes
INSTALLER_SECONDS = 3600
# They would choose channels, environments and interpreters of their own.
FOREIGN_VARIABLES = ("CONDA", "_CONDA", "MAMBA", "PYTHON")
CACHE = "/pkgs"
BROKEN = ".broken"  # what was in an environment's place
BEFORE = ".gpuprep-before"  # an environment that is made anew
SUFFIXES = {"packages": ".yml", "yaml": ".yml", "explicit": ".txt"}


def _fetch_installer(operation, path):
    """Fetch the installer and return its descriptor, its content checked."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    stream = os.fdopen(os.open(path, flags, 0o500), "w+b")
    try:
        fetch.fetch(operation["url"], stream, MAX_INSTALLER, INSTALLER_SECONDS)
        os.fsync(stream.fileno())
        stream.seek(0)
        digest = hashlib.sha256()
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
        if digest.hexdigest() != operation["sha256"].lower():
            raise OperationError(  # noqa: TRY301 - the stream is closed below
                "E_CHECKSUM",
                "the installer at %s has SHA-256 %s, expected %s; it was not run"
                % (
                    fetch.without_secrets(operation["url"]),
                    digest.hexdigest(),
                    operation["sha256"],
                ),
            )
    except BaseException:
        stream.close()
        raise
    return stream


def conda_install(operation, context):
    """Install conda, or bring an existing prefix to this release in place."""
    prefix = operation["prefix"]
    detail = "installed conda %s in %s" % (operation["version"], prefix)
    if context.check:
        return done(detail, [prefix])
    parent = os.path.dirname(prefix.rstrip("/")) or "/"
    if os.path.lexists(prefix):
        os.close(folders.open_directory(prefix))
    # Beside the prefix: /tmp may be mounted noexec or be too small. Only root can enter.
    with folders.fresh_directory(parent) as work:
        path = os.path.join(work, "installer.sh")
        stream = _fetch_installer(operation, path)
        try:
            if not os.path.samestat(os.fstat(stream.fileno()), os.lstat(path)):
                folders.refuse(path, "was exchanged")
            # The run before this one may have made it since this one was planned.
            is_new = operation["is_new"] and not os.path.lexists(prefix)
            argv = ["bash", path, "-b", "-p", prefix] + ([] if is_new else ["-u"])
        finally:
            stream.close()
        outcome = _run(argv, work, cwd=work)
    if outcome.code != 0:
        raise OperationError("E_CONDA", "conda's installer failed: %s" % ended(outcome)[-1500:])
    _restore_labels(prefix)
    return done(detail, [prefix])


def _restore_labels(prefix):
    """Label what conda made; a file of its cache is one with that of an environment."""
    folders.restore_labels(prefix, [prefix + CACHE])


def _run(argv, work, variables=None, **options):
    """Return the outcome of a command of conda's that no configuration of a user reaches."""
    own = {"TMPDIR": work, "HOME": work, "XDG_CONFIG_HOME": work}
    return command(argv, dict(own, **(variables or {})), without=FOREIGN_VARIABLES, **options)


def packages_of(env):
    """Return installed packages of an environment: name to version-build."""
    found = {}
    for path in glob.glob(env + "/conda-meta/*-*-*.json"):
        name, version, build = os.path.basename(path)[: -len(".json")].rsplit("-", 2)
        found[name] = version + "-" + build
    return found


def note_of(env):
    """Return the note that an environment was left with, empty when there is none."""
    data = files.current(env + "/conda-meta/gpuprep")[0]
    try:
        note = json.loads((data or b"").decode("utf-8"))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def for_another_cuda(env, setting):
    """Return whether an environment was solved for another CUDA than is wanted now."""
    cuda = setting.get("cuda")
    return bool(cuda) and bool(note_of(env)) and note_of(env).get("cuda") != cuda


def as_noted(env, setting):
    """Return whether an environment is as its note says, made from this specification."""
    note = note_of(env)
    return (
        is_environment(env)
        and note.get("digest") == setting["digest"]
        and note.get("packages") == packages_of(env)
        and not for_another_cuda(env, setting)
    )


def is_environment(env):
    """Return whether conda takes a directory for an environment."""
    return os.path.isfile(env + "/conda-meta/history")


def argv_of(kind, env, path):
    """Return the arguments that make conda bring an environment to its specification."""
    if kind == "explicit":
        return ["create", "-y", "-q", "-p", env, "--file", path]
    verb = ["update", "--prune"] if is_environment(env) else ["create", "-y"]
    return ["env"] + verb + ["-q", "-p", env, "-f", path]


def as_file(setting):
    """Return the specification as conda is given it."""
    if setting["kind"] != "packages":
        return setting["content"]
    specs = [json.dumps(spec) for spec in setting["content"].splitlines() if spec.strip()]
    return "dependencies:\n" + "".join("  - %s\n" % spec for spec in specs)


def _environment(prefix, setting, work):
    """Create or update one environment and note the outcome; return what was set aside for it."""
    env = os.path.join(prefix, "envs", setting["name"])
    os.close(folders.open_directory(os.path.dirname(env)))
    aside = None
    if os.path.lexists(env) and not is_environment(env):
        # What an interrupted run left, or somebody's own: conda would refuse it, root keeps it.
        aside = files.free_name(env, BROKEN)
        _move(env, aside)
    elif os.path.lexists(env):
        os.close(folders.open_directory(env))
        env = os.path.realpath(env)
    path = os.path.join(work, "specification" + SUFFIXES[setting["kind"]])
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(as_file(setting))
    variables = {"CONDA_ENVS_PATH": prefix + "/envs"}
    if setting.get("cuda"):
        variables["CONDA_OVERRIDE_CUDA"] = setting["cuda"]
    with _anew(env, anew=for_another_cuda(env, setting)):
        outcome = _run(
            [prefix + "/bin/conda", *argv_of(setting["kind"], env, path)], work, variables
        )
        if outcome.code != 0:
            raise OperationError(
                "E_CONDA",
                "conda cannot make environment %s: %s" % (setting["name"], ended(outcome)[-1500:]),
            )
    note = {"digest": setting["digest"], "packages": packages_of(env)}
    if setting.get("cuda"):
        note["cuda"] = setting["cuda"]
    data = json.dumps(note, sort_keys=True).encode("utf-8")
    files.write(env + "/conda-meta/gpuprep", data, 0o644, (os.geteuid(), os.getegid()))
    return aside


def _move(source, place):
    """Rename a directory; copied where the file system cannot, such as a container's layers."""
    if os.path.lexists(place):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place)
    shutil.move(source, place)


@contextlib.contextmanager
def _anew(env, anew):
    """Take an environment away while it is made anew; it comes back when that fails.

    An update would keep the builds that are there as long as their versions fit.
    """
    before = env + BEFORE
    if anew:
        shutil.rmtree(before, ignore_errors=True)  # of a run that was killed
        _move(env, before)
    try:
        yield
    except BaseException:
        if anew:
            shutil.rmtree(env, ignore_errors=True)
            with contextlib.suppress(OSError):  # the first failure is the one that counts
                _move(before, env)
        raise
    shutil.rmtree(before, ignore_errors=True)


def conda_environments(operation, context):
    """Bring every environment to its specification."""
    prefix = operation["prefix"]
    changed = [
        setting
        for setting in operation["environments"]
        if not as_noted(os.path.join(prefix, "envs", setting["name"]), setting)
    ]
    names = [setting["name"] for setting in changed]
    aside = []
    if changed and not context.check:
        for setting in changed:
            with folders.fresh_directory(prefix) as work:
                aside.append(_environment(prefix, setting, work))
        _restore_labels(prefix)
    detail = "made %s" % listed(names) if names else "all environments are as specified"
    if any(aside):
        detail += "; kept what was no environment as %s" % listed(filter(None, aside))
    return done(detail, names)
