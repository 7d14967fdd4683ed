"""The package families: which one a host is of, and the module that reads its records."""

from . import deb, rpm

FAMILIES = {"deb": deb, "rpm": rpm}
DEFAULT = "deb"  # of systems that the controller refuses anyway


def family_of(fields):
    """Return the name of a host's family by the fields ID and ID_LIKE of its os-release."""
    for told in [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]:
        for name, backend in FAMILIES.items():
            if told.lower() in backend.DISTRIBUTIONS:
                return name
    return DEFAULT
