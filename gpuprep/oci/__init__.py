"""Hosts from Oracle Cloud Infrastructure, complete or loud.

The only part of gpuprep that imports ``oci``, and only when a request is really needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.oci import profile as profiles
from gpuprep.oci.gaps import settled
from gpuprep.oci.names import renamed
from gpuprep.oci.options import Options
from gpuprep.oci.records import Host, Listing

if TYPE_CHECKING:
    from gpuprep.oci.profile import Profile

__all__ = ["Host", "Listing", "Options", "fetch", "list_hosts", "profiles", "renamed", "settled"]


def list_hosts(options: Options) -> Listing:
    """Sign in and list the hosts that the options ask for.

    Raises:
        ConfigError: options, profile, key or token are wrong.
        InventoryError: the cloud refuses or does not answer; nothing is listed half.

    """
    return settled(fetch(options, profiles.load(options)), options.on_partial)


def fetch(options: Options, profile: Profile) -> Listing:
    """Sign in and list the hosts that the options ask for, with the gaps that there are.

    Raises:
        ConfigError: options, profile, key or token are wrong.
        InventoryError: the cloud refuses or does not answer, so that nothing can be listed.

    """
    from gpuprep.catalog import load  # noqa: PLC0415 - a cached inventory needs none of these
    from gpuprep.oci import listing  # noqa: PLC0415
    from gpuprep.oci.client import Client  # noqa: PLC0415
    from gpuprep.oci.signin import sign_in  # noqa: PLC0415

    identity = sign_in(options, profile)
    return listing.list_hosts(Client(identity, options), options, load().shapes)
