"""The programs by which hosts are reached: ssh, or asyncssh within this process."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final, Literal, get_args

from gpuprep.errors import ConfigError

Transport = Literal["ssh", "asyncssh"]
TRANSPORTS: Final[tuple[str, ...]] = get_args(Transport)
VARIABLE: Final = "gpuprep_transport"


def check(name: str) -> None:
    """Refuse a transport that there is not, here or at all.

    Raises:
        ConfigError: says how to get it.

    """
    if name not in TRANSPORTS:
        raise ConfigError(f"transport: expected {' or '.join(TRANSPORTS)}, found {name!r}")
    if name == "asyncssh" and importlib.util.find_spec("asyncssh") is None:
        raise ConfigError(
            f"transport: asyncssh is missing for {sys.executable}; install it there:"
            f" {sys.executable} -m pip install asyncssh, or gpuprep with its extra [asyncssh],"
            " which brings it"
        )
