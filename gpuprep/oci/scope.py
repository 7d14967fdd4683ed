"""Where to look: regions and compartments."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ConfigError
from gpuprep.oci.client import Call
from gpuprep.oci.records import Compartment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuprep.oci.client import Client
    from gpuprep.oci.options import Options
    from gpuprep.oci.signin import Identity

_OCIDS: Final = ("ocid1.compartment.", "ocid1.tenancy.")


def home_region(identity: Identity, options: Options) -> str:
    """Region to send the tenancy-wide requests to.

    Raises:
        ConfigError: neither profile, signer nor option names one.

    """
    named = next((one for one in options.regions if one != "all"), None)
    region = identity.region or named
    if not region:
        raise ConfigError("no region: set region, OCI_REGION, or region in the OCI profile")
    return region


def regions(client: Client, options: Options) -> tuple[str, ...]:
    """Return the regions to list; one request when ``all`` is asked for."""
    home = home_region(client.identity, options)
    if "all" not in options.regions:
        return tuple(dict.fromkeys(options.regions)) or (home,)
    tenancy = _tenancy(client.identity, "regions: all")
    call = Call(
        "identity",
        home,
        f"/tenancies/{tenancy}/regionSubscriptions",
        about=f"tenancy {tenancy}",
        policy="inspect tenancies in tenancy",
    )
    # The one list without pages: it takes no limit.
    found = client.whole(call)
    return tuple(one["regionName"] for one in found if one.get("status") == "READY")


def compartments(client: Client, options: Options) -> tuple[Compartment, ...]:
    """Return the compartments to list; at most one paged request, none when OCIDs say it all.

    Raises:
        ConfigError: a compartment is unknown or its name is ambiguous.

    """
    wanted = options.compartments
    by_ocid = wanted and all(one.startswith(_OCIDS) for one in wanted)
    # What lies below an excluded one is excluded too, and only the tree tells what that is.
    if by_ocid and not options.include_subcompartments and not options.exclude_compartments:
        return tuple(Compartment(one) for one in dict.fromkeys(wanted))
    tree = _tree(client, options)
    chosen = _chosen(tree, wanted, options.include_subcompartments) if wanted else list(tree)
    dropped = {one.id for one in _chosen(tree, options.exclude_compartments, below=True)}
    return tuple(one for one in chosen if one.id not in dropped)


def _tree(client: Client, options: Options) -> tuple[Compartment, ...]:
    tenancy = _tenancy(client.identity, "compartments by name, or all of them")
    call = Call(
        "identity",
        home_region(client.identity, options),
        "/compartments",
        {
            "compartmentId": tenancy,
            "compartmentIdInSubtree": "true",
            "accessLevel": "ANY",
            "lifecycleState": "ACTIVE",
        },
        about=f"tenancy {tenancy}",
        policy="inspect compartments in tenancy",
    )
    rows = client.all(call)
    parents = {one["id"]: (one["compartmentId"], one["name"]) for one in rows}
    found = [Compartment(ocid, name, _path(ocid, parents)) for ocid, (_, name) in parents.items()]
    root = Compartment(tenancy, "root", "/")
    return (root, *sorted(found, key=lambda one: one.path or ""))


def _path(ocid: str, parents: dict[str, tuple[str, str]]) -> str:
    parts: list[str] = []
    while ocid in parents:
        ocid, name = parents[ocid]
        parts.insert(0, name)
    return "/" + "/".join(parts)


def _chosen(
    tree: Sequence[Compartment],
    wanted: Iterable[str],
    below: bool = False,  # noqa: FBT001, FBT002 - an option's value
) -> list[Compartment]:
    tops = [_find(tree, one) for one in wanted]
    if below:
        return [one for one in tree if any(_is_below(one, top) for top in tops)]
    return list(dict.fromkeys(tops))


def _is_below(one: Compartment, top: Compartment) -> bool:
    if one.id == top.id or top.path == "/":
        return True
    return bool(one.path and top.path and one.path.startswith(top.path + "/"))


def _find(tree: Sequence[Compartment], wanted: str) -> Compartment:
    found = [one for one in tree if wanted in {one.id, one.name, one.path}]
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(str(one.path) for one in found)
        raise ConfigError(f"compartment {wanted} is ambiguous: give one of the paths {paths}")
    known = [str(one.path) for one in tree] + [str(one.name) for one in tree]
    near = ", ".join(difflib.get_close_matches(wanted, known, n=3))
    hint = f"nearest: {near}" if near else f"{len(tree)} compartments are visible"
    raise ConfigError(
        f"compartment {wanted} is not in the tenancy, or not visible; {hint}; the root is `/`"
    )


def _tenancy(identity: Identity, what: str) -> str:
    if not identity.tenancy:
        raise ConfigError(
            f"{what}: needs the tenancy's OCID; set tenancy or OCI_TENANCY, or give compartment "
            "OCIDs and regions by name"
        )
    return identity.tenancy
