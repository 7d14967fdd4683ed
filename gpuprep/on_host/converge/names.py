"""Package names and versions, and the patterns that select them."""

from fnmatch import fnmatchcase


def plain(names):
    """Return names without the architecture that follows that of another than the host's."""
    return {name.partition(":")[0] for name in names}


def matches(name, patterns):
    """Return whether a name fits a pattern and no exclusion (a pattern with a leading ``!``).

    A package of another architecture than the host's, ``name:architecture``, goes by its name.
    """
    name = name.partition(":")[0]
    if any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!")):
        return False
    return any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))


def fits(version, pattern):
    """Return whether a full version fits a pattern; one without an epoch is for any epoch."""
    forms = (version, version.rpartition(":")[2])
    return not pattern or any(fnmatchcase(form, pattern) for form in forms)
