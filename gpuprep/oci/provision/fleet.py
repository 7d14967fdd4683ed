"""From a fleet as it should be to a fleet that is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.oci.provision.tools import Tools

if TYPE_CHECKING:
    from gpuprep.oci.options import Options
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.provision.result import ProvisionResult


def provision(
    desired: Desired,
    options: Options,
    *,
    check: bool = False,
    addresses: bool = False,
    tools: Tools | None = None,
) -> ProvisionResult:
    """Bring a fleet to where it should be, or only say what would be done.

    Args:
        desired: the fleet as it should be.
        options: how to sign in.
        check: change nothing.
        addresses: look up those of all members that run, not only of those that were waited for.
        tools: what tests bring along.

    Raises:
        ConfigError: settings, profile, key or token are wrong, or the fleet cannot be made as it
            is asked for. Nothing was made.
        InventoryError: the cloud does not answer, or does not allow it.

    """
    from gpuprep.catalog import load  # noqa: PLC0415 - help must not load it
    from gpuprep.oci import profile as profiles  # noqa: PLC0415
    from gpuprep.oci import scope  # noqa: PLC0415
    from gpuprep.oci.client import CallFailedError, Client  # noqa: PLC0415
    from gpuprep.oci.provision import failures, lookup, run  # noqa: PLC0415
    from gpuprep.oci.provision.calls import Cloud  # noqa: PLC0415
    from gpuprep.oci.provision.desired import FleetState  # noqa: PLC0415
    from gpuprep.oci.signin import sign_in  # noqa: PLC0415

    catalog = load()
    if desired.state not in {FleetState.ABSENT, FleetState.STOPPED}:
        lookup.check_shape(desired, catalog)
    if desired.region is not None:
        options = replace(options, region=desired.region)
    options = replace(options, regions=(), compartments=(desired.compartment,))
    identity = sign_in(options, profiles.load(options))
    client = Client(identity, options, sleep=(tools or Tools()).sleep)
    try:
        region = scope.home_region(identity, options)
        (compartment,) = scope.compartments(client, options)
        beside = compartment
        if desired.network.compartment is not None:
            elsewhere = replace(options, compartments=(desired.network.compartment,))
            (beside,) = scope.compartments(client, elsewhere)
        cloud = Cloud(client, region, compartment)
        fleet = run.Run(desired, cloud, catalog, identity.tenancy, beside, tools or Tools())
        return fleet.execute(check=check, addresses=addresses)
    except CallFailedError as error:
        raise failures.raised(error, identity.principal) from None
