"""Hosts from Oracle Cloud Infrastructure, complete or loud.

The only part of gpuprep that imports ``oci``, and only when a request is really needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.oci import profile as profiles
from gpuprep.oci.options import Options
from gpuprep.oci.records import Host, Listing

if TYPE_CHECKING:
    from gpuprep.oci.profile import Profile

__all__ = ["Host", "Listing", "Options", "list_hosts", "profiles"]


def list_hosts(options: Options, profile: Profile | None = None) -> Listing:
    """Sign in and list the hosts that the options ask for.

    Args:
        options: what to list, and how.
        profile: the SDK's profile when it was read before.

    Raises:
        ConfigError: options, profile, key or token are wrong.
        InventoryError: the cloud refuses or does not answer; nothing is listed half.

    """
    from gpuprep.catalog import load  # noqa: PLC0415 - a cached inventory needs none of these
    from gpuprep.oci import listing  # noqa: PLC0415
    from gpuprep.oci.client import Client  # noqa: PLC0415
    from gpuprep.oci.signin import sign_in  # noqa: PLC0415

    identity = sign_in(options, profile or profiles.load(options))
    return listing.list_hosts(Client(identity, options), options, load().shapes)
