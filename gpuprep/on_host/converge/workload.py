"""What a workload needs beside packages: a user, a checkout of its source, a test of its start."""

import json
import os
import pwd
import shutil
import stat

from ..checkouts import stamp
from . import files, folders
from .base import OperationError, command, done, ended, last_lines

NOTE = ".gpuprep"  # within the checkout's .git
# No configuration of the machine's or of a user's changes what git does here.
GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:http:file",
    "GIT_ASKPASS": "/bin/false",
}
OPTIONS = ("-c", "core.hooksPath=/dev/null", "-c", "transfer.fsckObjects=true", "-c", "gc.auto=0")
START_SECONDS = 600
NOLOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")


def account(operation, context):
    """Make a system user without login and its home, which others cannot enter."""
    name, home = operation["name"], operation["home"]
    changed = []
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        entry = None
    if entry is not None and (entry.pw_dir != home or entry.pw_uid == 0):
        raise OperationError(
            "E_FS_USER",
            "there is a user %s with the home %s, which is not the workload's"
            % (name, entry.pw_dir),
        )
    if entry is None:
        changed.append(name)
        if not context.check:
            _make_user(name, home)
    own = [home] + [os.path.join(home, part) for part in operation["folders"]]
    changed += [path for path in own if _folder(path, name, context.check)]
    return done("made %s" % ", ".join(changed) if changed else "user %s is there" % name, changed)


def _make_user(name, home):
    shell = next((path for path in NOLOGIN if os.path.exists(path)), NOLOGIN[-1])
    argv = ["useradd", "--system", "--user-group", "--home-dir", home, "--no-create-home"]
    outcome = command(argv + ["--shell", shell, "--comment", "gpuprep workload", name])
    if outcome.code != 0:
        raise OperationError("E_COMMAND", "useradd failed: %s" % last_lines(outcome))


def _folder(path, name, check):
    """Give a user a folder of its own; return whether anything was to be done."""
    try:
        entry = pwd.getpwnam(name)
        owner = (entry.pw_uid, entry.pw_gid)
    except KeyError:
        return True  # check mode: the user is not there yet
    parent, part = os.path.split(path)
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        info = None
    rights = info and (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    if info is not None and not stat.S_ISDIR(info.st_mode):
        raise OperationError("E_FILE", "%s is no directory" % path)
    if rights == (0o750,) + owner:
        return False
    if not check:
        handle = _parent(parent, owner[0])
        try:
            if info is None:
                os.mkdir(part, 0o700, dir_fd=handle)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            inner = os.open(part, flags, dir_fd=handle)
            try:
                os.fchown(inner, *owner)
                os.fchmod(inner, 0o750)
            finally:
                os.close(inner)
        finally:
            os.close(handle)
    return True


def _parent(path, uid):
    """Return a descriptor of the folder that a folder is made in: root's, or the user's own."""
    try:
        own = os.lstat(path).st_uid == uid
    except FileNotFoundError:
        own = False
    if not own:
        return folders.open_directory(path)
    above = folders.open_directory(os.path.dirname(path))
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        return os.open(os.path.basename(path), flags, dir_fd=above)
    finally:
        os.close(above)


def is_checkout(path, commit):
    """Return whether a checkout of a commit is as it was left."""
    data = files.current(os.path.join(path, ".git", NOTE))[0]
    try:
        note = json.loads((data or b"").decode("utf-8"))
    except ValueError:
        return False
    return isinstance(note, dict) and note == {"commit": commit, "stamp": stamp(path)}


def checkout(operation, context):
    """Check out one commit of a repository, known by its full id; what was there goes."""
    path, commit = operation["path"], operation["commit"]
    if is_checkout(path, commit):
        return done("%s is at %s" % (path, commit[:12]))
    detail = "checked out %s in %s" % (commit[:12], path)
    if context.check:
        return done(detail, [path])
    parent = os.path.dirname(path)
    with folders.fresh_directory(parent) as work:
        new = os.path.join(work, "source")
        _check_out(operation["repository"], commit, new, work)
        _open_to_all(new)
        note = {"commit": commit, "stamp": stamp(new)}
        data = json.dumps(note, sort_keys=True).encode("utf-8")
        files.write(os.path.join(new, ".git", NOTE), data, 0o644, (os.geteuid(), os.getegid()))
        if os.path.lexists(path):
            shutil.move(path, os.path.join(work, "before"))
        shutil.move(new, path)
    return done(detail, [path])


def _check_out(repository, commit, path, work):
    """Fetch a commit and write its files; git checks every object by the name that it has."""
    _git(["init", "--quiet", path], work)
    fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]
    one = _git_outcome(fetch + ["--depth=1", repository, commit], work, path)
    if one.code != 0:
        # Not every server hands out a commit that no branch or tag points to.
        every = ["+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"]
        outcome = _git_outcome(fetch + [repository] + every, work, path)
        if outcome.code != 0:
            raise OperationError(
                "E_FS_COMMIT", "%s cannot be fetched: %s" % (repository, last_lines(outcome))
            )
    named = _git_outcome(["rev-parse", "--verify", "--quiet", commit + "^{commit}"], work, path)
    if named.code != 0 or named.out.strip() != commit:
        raise OperationError("E_FS_COMMIT", "%s has no commit %s" % (repository, commit))
    _git(["checkout", "--quiet", "--detach", commit], work, path)
    head = _git_outcome(["rev-parse", "HEAD"], work, path).out.strip()
    changes = _git_outcome(["status", "--porcelain"], work, path)
    if head != commit or changes.code != 0 or changes.out.strip():
        raise OperationError(
            "E_FS_COMMIT", "the checkout of %s is not what the commit says" % commit
        )


def _git_outcome(arguments, work, path=None):
    argv = ["git"] + list(OPTIONS) + (["-C", path] if path else []) + arguments
    return command(argv, dict(GIT, HOME=work), without=("GIT_",), cwd=work)


def _git(arguments, work, path=None):
    outcome = _git_outcome(arguments, work, path)
    if outcome.code != 0:
        raise OperationError("E_FS_COMMIT", "git failed: %s" % last_lines(outcome))


def _open_to_all(path):
    """Let everybody read a tree and nobody but root write it, whatever the umask was."""
    for folder, _, names in os.walk(path):
        os.chmod(folder, 0o755)  # noqa: S103 - for everybody to read
        for name in names:
            full = os.path.join(folder, name)
            info = os.lstat(full)
            if stat.S_ISREG(info.st_mode):
                os.chmod(full, 0o755 if info.st_mode & stat.S_IXUSR else 0o644)


def start_test(operation, context):
    """Run a program of the workload's Python as its user; it must end well."""
    if context.check:
        return done("tried that it starts")
    entry = pwd.getpwnam(operation["user"])

    def become():
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)

    own = {"HOME": entry.pw_dir, "USER": entry.pw_name, "PYTHONDONTWRITEBYTECODE": "1"}
    own.update(operation["environment"])
    outcome = command(
        ["timeout", "--kill-after=10", str(START_SECONDS), operation["python"], "-c"]
        + [operation["program"]],
        own,
        without=("CONDA", "_CONDA", "PYTHON", "DISPLAY", "WAYLAND", "XAUTHORITY", "SUDO_"),
        cwd=operation["directory"],
        preexec_fn=become,
    )
    if outcome.code != 0:
        raise OperationError(
            "E_FS_START",
            "it does not start as user %s: %s" % (entry.pw_name, ended(outcome)[-1500:]),
        )
    return done("it starts as user %s: %s" % (entry.pw_name, " ".join(outcome.out.split())))
