"""SELinux: the label that the policy has for a path, the one that is there, and how it gets it.

Asked of libselinux, which every system with SELinux has, so that programs and this one agree. Where
SELinux is off or a file system keeps no labels, nothing here finds anything.
"""

import ctypes
import errno
import os

MOUNT = "/sys/fs/selinux"  # where the kernel shows it, once it has loaded a policy
CONFIGURATION = "/etc/selinux/config"
MOUNTS = "/proc/self/mounts"
OWN = "/proc/self/attr/current"
ATTRIBUTE = "security.selinux"
LIBRARY = "libselinux.so.1"
FILES = 0  # SELABEL_CTX_FILE of selinux/label.h
ROLE = 1  # user:role:type:range
TYPE = 2
USER_ROLES = ("user_r", "staff_r", "guest_r", "xguest_r")  # of the reference policy
_BYTES = 1 << 16


def mode():
    """Return ``enforcing``, ``permissive`` or ``disabled``."""
    text = _text(MOUNT + "/enforce").strip()
    return {"1": "enforcing", "0": "permissive"}.get(text, "disabled")


def policy_name():
    """Return the name of the policy, as ``targeted``; empty where none is configured."""
    for line in _text(CONFIGURATION).splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == "SELINUXTYPE":
            return value.strip()
    return ""


def own_context():
    """Return the context that this process runs in; empty where SELinux is off."""
    return _text(OWN).strip("\0\n ") if mode() != "disabled" else ""


def is_confined(mode_now, context):
    """Return whether a context is a role of ordinary users', kept from administration."""
    return mode_now == "enforcing" and any(r in USER_ROLES for r in context.split(":")[ROLE:TYPE])


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(_BYTES)
    except OSError:
        return ""


class Policy:
    """The labels that a policy has for paths."""

    def __init__(self, library):
        self._library = library
        library.selabel_open.restype = ctypes.c_void_p
        library.selabel_open.argtypes = [ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint]
        text = ctypes.POINTER(ctypes.c_char)
        library.selabel_lookup_raw.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(text),
            ctypes.c_char_p,
            ctypes.c_int,
        ]
        library.freecon.argtypes = [text]
        library.freecon.restype = None
        library.is_context_customizable.argtypes = [ctypes.c_char_p]
        self._contexts = library.selabel_open(FILES, None, 0)

    def wanted(self, path, file_mode):
        """Return the label for a path, with what kind of file it is; None: it may have any."""
        found = ctypes.POINTER(ctypes.c_char)()
        if not self._contexts or self._library.selabel_lookup_raw(
            self._contexts, ctypes.byref(found), os.fsencode(path), file_mode
        ):
            return None
        try:
            return ctypes.string_at(found).decode("utf-8", "replace")
        finally:
            self._library.freecon(found)

    def is_customizable(self, label):
        """Return whether administrators choose this label by hand, so that tools leave it."""
        return self._library.is_context_customizable(label.encode("utf-8")) > 0


def _load():
    """Return the policy that is loaded; None where SELinux is off."""
    if mode() == "disabled":
        return None
    try:
        return Policy(ctypes.CDLL(LIBRARY))
    except (AttributeError, OSError):
        return None


_LOADED: "list[Policy | None]" = []  # once it was asked for


def policy():
    """Return the policy that is loaded, None where SELinux is off."""
    if not _LOADED:
        _LOADED.append(_load())
    return _LOADED[0]


def real(path):
    """Return a path as labels go by: without links before its last part."""
    folder, name = os.path.split(path.rstrip("/") or "/")
    return os.path.join(os.path.realpath(folder), name)


def keeps_labels(path):
    """Return whether the file system of a real path keeps a label with each file."""
    mounts = []
    for line in _text(MOUNTS).splitlines():
        fields = line.split(" ")
        if len(fields) > 3:  # device, place, type, options
            place = fields[1].replace("\\040", " ").rstrip("/")
            if path == place or path.startswith(place + "/"):
                mounts.append((len(place), fields[3].split(",")))
    # Of two at one place the later one is seen.
    last = max(range(len(mounts)), key=lambda n: (mounts[n][0], n), default=None)
    return last is not None and "seclabel" in mounts[last][1]


def _label(target, **options):
    try:
        value = os.getxattr(target, ATTRIBUTE, **options)
    except OSError:
        return ""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _type(label):
    parts = label.split(":")
    return parts[TYPE] if len(parts) > TYPE else label


def wrong(path, info=None):
    """Return label and wanted label of a path whose type is another than the policy's, else None.

    Like restorecon, it passes over user and range, and over types that people give by hand.
    """
    rules = policy()
    if rules is None:
        return None
    try:
        info = info or os.lstat(path)
    except OSError:
        return None
    place = real(path)
    wanted = rules.wanted(place, info.st_mode)
    there = _label(path, follow_symlinks=False)
    if not wanted or not there or _type(there) == _type(wanted):
        return None
    if rules.is_customizable(there) or not keeps_labels(place):
        return None
    return there, wanted


def give(handle, path):
    """Give an open file the label that the policy has for a path, unless its type is that.

    Raises OSError where the policy forbids it.
    """
    rules = policy()
    if rules is None:
        return
    place = real(path)
    wanted = rules.wanted(place, os.fstat(handle).st_mode)
    if not wanted or _type(_label(handle)) == _type(wanted) or not keeps_labels(place):
        return
    try:
        os.setxattr(handle, ATTRIBUTE, wanted.encode("utf-8") + b"\0")
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EROFS):
            text = "its SELinux label cannot become %s: %s" % (wanted, error.strerror)
            raise OSError(error.errno, text) from error
