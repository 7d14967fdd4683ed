"""Python packages of an environment: exactly those of a lock."""

import glob
import json
import os
import re
import urllib.parse

from . import files, folders
from .base import OperationError, command, done, ended, listed

NOTE = "conda-meta/gpuprep-python"  # below the environment
FOREIGN_VARIABLES = ("CONDA", "_CONDA", "MAMBA", "PYTHON", "PIP_", "VIRTUAL_ENV")
PIP = ("-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "--no-color")
INSTALL = (
    "install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
    "--progress-bar=off", "--root-user-action=ignore",
)  # fmt: skip
HASHES = re.compile(  # as pip tells it: the file, and what its hash is
    r"([\w.+-]+==\S+ from \S+).*:\s+Expected sha256 [^:]*?Got\s+([0-9a-f]{64})"
)
LOGIN = re.compile(r"://[^/\s@]+@")  # in an address
CONDA = "conda"  # what conda writes as the installer of its packages


def installed(env):
    """Return the Python packages of an environment: name to version."""
    found = {}
    for path in glob.glob(env + "/lib/python3*/site-packages/*.dist-info"):
        name, _, version = os.path.basename(path)[: -len(".dist-info")].partition("-")
        if os.path.isfile(path + "/METADATA"):
            found[_normalized(name)] = version
    return found


def _normalized(name):
    """Return the name that packages are compared by: Foo.Bar_baz -> foo-bar-baz."""
    return re.sub(r"[-_.]+", "-", name).lower()


def note_of(env):
    """Return the note that an environment's packages were left with, empty when there is none."""
    data = files.current(os.path.join(env, NOTE))[0]
    try:
        note = json.loads((data or b"").decode("utf-8"))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def as_locked(env, operation):
    """Return whether an environment holds what the lock left there, and nothing else."""
    note = note_of(env)
    return note.get("digest") == operation["digest"] and note.get("packages") == installed(env)


def strangers(env, names):
    """Return the packages that neither the lock nor conda brought; pip itself always stays."""
    found = []
    records = (os.path.basename(path) for path in glob.glob(env + "/conda-meta/*-*-*.json"))
    kept = {_normalized(record.rsplit("-", 2)[0]) for record in records} | names | {"pip"}
    for path in glob.glob(env + "/lib/python3*/site-packages/*.dist-info"):
        raw = os.path.basename(path)[: -len(".dist-info")].partition("-")[0]
        name = _normalized(raw)
        installer = (files.current(path + "/INSTALLER")[0] or b"").decode("utf-8", "replace")
        if name not in kept and installer.strip() != CONDA and os.path.isfile(path + "/METADATA"):
            found.append(name)
    return sorted(set(found))


def python_lock(operation, context):
    """Bring an environment's Python packages to a lock, and note what it holds then."""
    env, names = operation["env"], set(operation["names"])
    if as_locked(env, operation):
        return done("the Python packages of %s are as locked" % env)
    if context.check:
        return done("installed %d Python packages in %s" % (len(names), env), [env])
    os.close(folders.open_directory(env))
    env = os.path.realpath(env)
    if not os.access(env + "/bin/python", os.X_OK):
        raise OperationError("E_PYTHON_PACKAGES", "there is no Python in %s" % env)
    # Beside the environment: packages are larger than /tmp may be.
    with folders.fresh_directory(os.path.dirname(env)) as work:
        lock = os.path.join(work, "lock.txt")
        with open(lock, "w", encoding="utf-8") as stream:
            stream.write(operation["lock"])
        _pip(env, work, list(INSTALL) + _index(operation["index"]) + ["-r", lock])
        gone = strangers(env, names)
        if gone:
            _pip(env, work, ["uninstall", "--yes"] + gone)
    packages = installed(env)
    note = {"digest": operation["digest"], "packages": packages}
    data = json.dumps(note, sort_keys=True).encode("utf-8")
    files.write(os.path.join(env, NOTE), data, 0o644, (os.geteuid(), os.getegid()))
    detail = "installed %d Python packages in %s" % (len(packages), env)
    return done(detail + ("; removed %s" % listed(gone) if gone else ""), [env])


def _index(url):
    """Return pip's options for another index; what comes from it is held to the lock's hashes."""
    if not url:
        return []
    parts = urllib.parse.urlsplit(url)
    options = ["--index-url", url]
    return options + (["--trusted-host", parts.hostname or ""] if parts.scheme == "http" else [])


def _pip(env, work, arguments):
    """Run pip of an environment; no configuration of a user reaches it, the machine's does."""
    own = {"TMPDIR": work, "HOME": work, "XDG_CONFIG_HOME": work, "PYTHONNOUSERSITE": "1"}
    argv = [env + "/bin/python"] + list(PIP) + arguments
    outcome = command(argv, own, without=FOREIGN_VARIABLES, cwd=work)
    if outcome.code == 0:
        return
    said = outcome.err + "\n" + outcome.out
    wrong = HASHES.search(said)
    if wrong:
        raise OperationError(
            "E_PYTHON_LOCK",
            "%s has SHA-256 %s, which is none of those in the lock; nothing was installed"
            % (LOGIN.sub("://", wrong.group(1)), wrong.group(2)),
        )
    raise OperationError(
        "E_PYTHON_PACKAGES",
        "pip failed in %s: %s" % (env, LOGIN.sub("://", ended(outcome)[-1500:])),
    )
