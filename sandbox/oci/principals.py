"""What a program has that signs in as an instance, for a user, or as a resource of OCI."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from sandbox.oci import keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.oci.server import Emulator


def create(folder: Path, emulator: Emulator) -> dict[str, str]:
    """Make tokens and a key in the folder; gives the environment variables that lead there.

    All kinds at once: ``auth_type`` or ``OCI_CLI_AUTH`` chooses.
    """
    now, authority = emulator.verifier.now(), emulator.authority
    key = keys.new()
    files = {
        "delegation_token": authority.delegation_token(now).encode(),
        "resource_principal_token": authority.resource_token(key.public_key(), now).encode(),
        "resource_principal.pem": keys.pem(key),
    }
    for name, content in files.items():
        keys.write(folder / name, content)
    return {
        "OCI_METADATA_BASE_URL": emulator.metadata_url,
        "GPUPREP_OCI_FEDERATION_ENDPOINT": emulator.federation_url,
        "OCI_DELEGATION_TOKEN_FILE": str(folder / "delegation_token"),
        "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
        "OCI_RESOURCE_PRINCIPAL_RPST": str(folder / "resource_principal_token"),
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": str(folder / "resource_principal.pem"),
        "OCI_RESOURCE_PRINCIPAL_REGION": emulator.api.tenancy.regions[0],
    }


def shell(environment: Mapping[str, str]) -> str:
    """Write variables down for a shell to read."""
    return "".join(f"export {key}={shlex.quote(one)}\n" for key, one in environment.items())
