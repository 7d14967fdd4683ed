"""Installed Debian packages and name patterns. Private to the collection."""

from fnmatch import fnmatchcase


def matches(name, patterns):
    """Whether a name fits a pattern and no exclusion (a pattern with a leading ``!``)."""
    if any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!")):
        return False
    return any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))


def rows(module, *fields):
    """Fields of every package that dpkg knows, as lists."""
    form = "\\t".join("${%s}" % field for field in fields) + "\\n"
    lines = module.run_command(["dpkg-query", "-W", "-f", form], check_rc=True)[1].splitlines()
    return [line.split("\t") for line in lines]


def installed(module):
    """Installed packages: name to version."""
    found = rows(module, "Package", "db:Status-Status", "Version")
    return {name: version for name, state, version in found if state == "installed"}
