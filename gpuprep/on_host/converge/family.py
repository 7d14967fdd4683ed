"""Chooses the package family's half on the host. To add a family: a module with the same functions.

A family's module gives, in neutral words (see deb.py for what each returns):

    NAMES, lock_holder(), installed(), unfinished(), finish(), available(names),
    newest(versions), counterpart(version, versions), needed(exact, version), awaited(names),
    refresh(), prepare(operation, check), retreat(), preview(transaction),
    carry_out(transaction), has_moved_on(outcome), held(), leftovers(names), purge(names),
    unheld(operation), hold(operation, names), is_kernel(name), is_built(kernel, name),
    build_module(kernel, name), rebuild_initramfs(kernel), default_link(name),
    set_default_link(name, value), build_logs(), explain(text, transaction),
    repair(unfinished, does_not_build)

and may give refuses_weak_keys(); where packages come in streams, enabled_stream(name) and
enable_stream(name, stream, check).
"""

import importlib
import re

from .base import OperationError


def backend(name):
    """Return the module of a package family."""
    if not re.match(r"^[a-z]+$", name or ""):
        raise OperationError("E_OS_FAMILY", "%r is no package family" % (name,))
    try:
        return importlib.import_module("." + name, __package__)
    except ImportError:
        raise OperationError(
            "E_OS_FAMILY", "package family %s is not supported on hosts yet" % name
        ) from None
