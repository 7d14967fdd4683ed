"""conda: its installer, and environments as specified."""

import glob
import hashlib
import json
import os

from . import fetch, files, folders
from .base import OperationError, command, done, listed

MAX_INSTALLER = 1 << 30  # bytes
INSTALLER_SECONDS = 3600
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
            argv = ["bash", path, "-b", "-p", prefix] + ([] if operation["is_new"] else ["-u"])
        finally:
            stream.close()
        outcome = command(argv, {"TMPDIR": work}, cwd=work)
    if outcome.code != 0:
        text = (outcome.err or outcome.out).strip()[-1500:]
        raise OperationError("E_CONDA", "conda's installer failed: %s" % text)
    return done(detail, [prefix])


def packages_of(env):
    """Return installed packages of an environment: name to version-build."""
    found = {}
    for path in glob.glob(env + "/conda-meta/*-*-*.json"):
        name, version, build = os.path.basename(path)[: -len(".json")].rsplit("-", 2)
        found[name] = version + "-" + build
    return found


def as_noted(env, digest):
    """Return whether an environment is as its note says, made from this specification."""
    data = files.current(env + "/conda-meta/gpuprep")[0]
    try:
        note = json.loads((data or b"").decode("utf-8"))
    except ValueError:
        return False
    if not isinstance(note, dict):
        return False
    return note.get("digest") == digest and note.get("packages") == packages_of(env)


def argv_of(conda, kind, env, path):
    """Return the conda call that brings an environment to its specification, no more, no less."""
    if kind == "explicit":
        return [conda, "create", "-y", "-q", "-p", env, "--file", path]
    verb = ["update", "--prune"] if os.path.isdir(env + "/conda-meta") else ["create", "-y"]
    return [conda, "env"] + verb + ["-q", "-p", env, "-f", path]


def as_file(setting):
    """Return the specification as conda is given it."""
    if setting["kind"] != "packages":
        return setting["content"]
    specs = [json.dumps(spec) for spec in setting["content"].splitlines() if spec.strip()]
    return "dependencies:\n" + "".join("  - %s\n" % spec for spec in specs)


def _environment(prefix, setting, work, cuda):
    """Create or update one environment and note the outcome."""
    env = os.path.join(prefix, "envs", setting["name"])
    path = os.path.join(work, "specification" + SUFFIXES[setting["kind"]])
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(as_file(setting))
    variables = {"TMPDIR": work, "CONDA_ENVS_PATH": prefix + "/envs"}
    if cuda:
        variables["CONDA_OVERRIDE_CUDA"] = cuda
    outcome = command(argv_of(prefix + "/bin/conda", setting["kind"], env, path), variables)
    if outcome.code != 0:
        text = (outcome.err or outcome.out).strip()
        raise OperationError(
            "E_CONDA", "conda cannot make environment %s: %s" % (setting["name"], text[-1500:])
        )
    note = {"digest": setting["digest"], "packages": packages_of(env)}
    data = json.dumps(note, sort_keys=True).encode("utf-8")
    files.write(env + "/conda-meta/gpuprep", data, 0o644, (os.geteuid(), os.getegid()))


def conda_environments(operation, context):
    """Bring every environment to its specification."""
    prefix = operation["prefix"]
    changed = [
        setting
        for setting in operation["environments"]
        if not as_noted(os.path.join(prefix, "envs", setting["name"]), setting["digest"])
    ]
    names = [setting["name"] for setting in changed]
    if changed and not context.check:
        with folders.fresh_directory(prefix) as work:
            for setting in changed:
                _environment(prefix, setting, work, operation.get("cuda"))
    detail = "made %s" % listed(names) if names else "all environments are as specified"
    return done(detail, names)
