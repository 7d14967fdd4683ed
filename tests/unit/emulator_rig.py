"""Clients of Oracle's SDK that speak with the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oci

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.oci import keys
    from sandbox.oci.server import Emulator


def clients(emulator: Emulator, credentials: keys.Credentials) -> Callable[[type[Any]], Any]:
    """Return what makes a client of the SDK by its class; it tries nothing twice."""
    config = oci.config.from_file(str(credentials.config))

    def make(kind: type[Any]) -> Any:
        return kind(
            config, service_endpoint=emulator.url, retry_strategy=oci.retry.NoneRetryStrategy()
        )

    return make
