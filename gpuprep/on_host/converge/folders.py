"""Directories in which nobody but root can exchange what root is about to use."""

import contextlib
import os
import shutil
import stat
import tempfile

from .. import labels
from .base import OperationError, command, done, last_lines, listed

RUN = "/run/gpuprep"  # everything of a run; a reboot clears it
MAX_LINKS = 40  # as the kernel
SHARED = stat.S_IWGRP | stat.S_IWOTH


def refuse(path, why):
    """Raise that a path cannot be trusted."""
    raise OperationError("E_UNSAFE_PATH", "%s %s; root must not work there" % (path, why))


def _check(path, info):
    """Refuse a directory that somebody else than root could exchange or fill."""
    if info.st_uid not in (0, os.geteuid()):
        refuse(path, "belongs to another user (uid %d)" % info.st_uid)
    if info.st_mode & stat.S_ISVTX:
        return  # nobody can exchange what is not theirs
    if info.st_mode & stat.S_IWOTH:
        refuse(path, "can be written by everybody")
    if info.st_mode & stat.S_IWGRP and info.st_gid not in (0, os.getegid()):
        refuse(path, "can be written by a group of users (gid %d)" % info.st_gid)


def open_directory(path):
    """Return a descriptor of a directory, made when it is absent; raises when it is not safe.

    Every part of the path must belong to root. Links are followed only where root made them, in
    directories that nobody else can write.
    """
    todo = [part for part in path.split("/") if part]
    links, here = 0, "/"
    handle = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        while todo:
            name = todo.pop(0)
            full = os.path.join(here, name)
            if name == "..":
                refuse(path, "is not a plain path")
            shared = os.fstat(handle).st_mode & SHARED
            made = False
            try:
                info = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):  # another program was faster
                    os.mkdir(name, 0o755, dir_fd=handle)
                    made = True
                info = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(info.st_mode):
                links += 1
                if shared or info.st_uid not in (0, os.geteuid()) or links > MAX_LINKS:
                    refuse(full, "is a link that is not root's alone")
                target = os.path.normpath(os.path.join(here, os.readlink(name, dir_fd=handle)))
                os.close(handle)
                todo = [part for part in target.split("/") if part] + todo
                here = "/"
                handle = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
                continue
            if not stat.S_ISDIR(info.st_mode):
                raise OperationError("E_FILE", "%s is no directory" % full)  # noqa: TRY301
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle, here = deeper, full
            _check(full, os.fstat(handle))
            if made:
                labels.give(handle, full)
    except OSError as error:
        os.close(handle)
        raise OperationError("E_FILE", "%s: %s" % (path, error.strerror)) from error
    except BaseException:
        os.close(handle)
        raise
    return handle


def run_directory():
    """Return the path of the directory for a run's own files, which only root can enter."""
    handle = open_directory(RUN)
    try:
        os.fchmod(handle, 0o700)
    finally:
        os.close(handle)
    return RUN


@contextlib.contextmanager
def fresh_directory(parent):
    """Make a directory that only root can enter, and remove it with all that is in it.

    Those that a killed program left are removed as well.
    """
    os.close(open_directory(parent))
    prefix = ".gpuprep-"
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        info = os.lstat(path)
        if name.startswith(prefix) and stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def restore_labels(path, without=()):
    """Give all below a directory the labels that SELinux's policy has for them.

    A program makes new files with the label of the directory that they are in, and moves them with
    their own. Where SELinux is off there is nothing to do.
    """
    place = os.path.realpath(path)  # of a link it would label only that
    if labels.policy() is None or not labels.keeps_labels(place):
        return
    argv = ["restorecon", "-R"]
    for other in without:
        argv += ["-e", os.path.realpath(other)]
    outcome = command([*argv, "--", place])
    if outcome.code != 0:
        raise OperationError(
            "E_COMMAND",
            "SELinux's labels below %s cannot be restored: %s" % (path, last_lines(outcome)),
        )


def labels_below(operation, context):
    """Give directories, with all that is in them, the labels that SELinux's policy has for them."""
    paths = operation["paths"]
    for path in [] if context.check else paths:
        os.close(open_directory(path))
        restore_labels(path, operation.get("without") or ())
    return done("restored the SELinux labels below %s" % listed(paths), paths)
