"""Names of hosts. Pure.

Whoever may name an instance must neither take another host's place, nor get what is meant for a
group or for the controller.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpuprep.oci.records import Addresses, Instance, Listing, is_own

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# Names that somebody chose; the others are addresses.
_CHOSEN: Final = frozenset({"display_name", "hostname_label", "fqdn"})
# Signs that have a meaning in host patterns or templates.
_UNSAFE_IN_NAMES: Final = re.compile(r"[^\w.\-]+")
_LONGEST_NAME: Final = 128  # bytes; hosts give files their names
# Names of the controller, and the groups that Ansible makes itself.
_RESERVED: Final = re.compile(
    r"localhost[46]?([.]localdomain[46]?)?|ip6-(localhost|loopback)|all|ungrouped", re.IGNORECASE
)
_TOLD_AT_MOST: Final = 10


def plain_name(instance: Instance, addresses: Addresses | None, preference: Iterable[str]) -> str:
    """Return the first name that a host has, without what has a meaning to Ansible or to files."""
    for kind in preference:
        if kind == "id":
            break
        if kind == "display_name":
            value: str | None = instance.name
        else:
            value = addresses.get(kind) if addresses else None
        if value and kind in _CHOSEN:
            value = (
                _UNSAFE_IN_NAMES.sub("-", value)
                .encode()[:_LONGEST_NAME]
                .decode(errors="ignore")
                .strip("-.")
            )
        if value:
            return value
    return instance.id  # always there; better than no host


def renamed(listing: Listing, taken: Collection[str]) -> Listing:
    """Return the listing with a name of its own for each host.

    Names are chosen by whoever may name an instance. One that belongs to another host, to a group
    or to this machine gets a part of the host's OCID behind it, and a warning tells.

    Args:
        listing: hosts with the names that they would have.
        taken: names that mean something else in the user's inventory.

    """
    groups = {
        *listing.group_parents,
        *(one for row in listing.group_parents.values() for one in row),
    }
    groups.update(*(host.groups for host in listing.hosts))
    names = distinct_names([(host.name, host.id) for host in listing.hosts], groups | {*taken})
    pairs = list(zip(listing.hosts, names, strict=True))
    odd = sorted({host.name for host, name in pairs if host.name != name})
    hosts = tuple(
        sorted((replace(host, name=name) for host, name in pairs), key=lambda host: host.name)
    )
    if not odd:
        return replace(listing, hosts=hosts)
    warning = (
        f"{len(odd)} names are shared by several hosts, or are those of groups, of other hosts or "
        f"of this machine; such hosts now end in their OCID's last six signs, or the whole of it: "
        + ", ".join(odd[:_TOLD_AT_MOST])
    )
    return replace(listing, hosts=hosts, warnings=(*listing.warnings, warning))


def distinct_names(wanted: Sequence[tuple[str, str]], taken: Collection[str]) -> list[str]:
    """Return a name for each (name, OCID): the name where it is free, else with OCID behind it.

    All that want a name lose it, so that names do not depend on the order of listing. An ending
    that makes another host's name costs both theirs, until nobody shares one.
    """
    forms = [(name, f"{name}_{ocid[-6:]}", f"{name}_{ocid}", ocid) for name, ocid in wanted]
    at = [0] * len(forms)
    while True:
        names = [form[place] for form, place in zip(forms, at, strict=True)]
        count = Counter(names)
        clashing = [
            number
            for number, name in enumerate(names)
            if at[number] < len(forms[number]) - 1
            and (count[name] > 1 or name in taken or _is_reserved(name))
        ]
        if not clashing:
            return names
        for number in clashing:
            at[number] += 1


def _is_reserved(name: str) -> bool:
    """Return whether a name means this machine, or a group that is always there."""
    try:
        return is_own(ipaddress.ip_address(name))
    except ValueError:
        return _RESERVED.fullmatch(name) is not None
