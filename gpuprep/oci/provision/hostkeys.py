"""Host keys: read from the console, kept in a known_hosts file. Blind trust is never needed."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ConfigError
from gpuprep.oci.provision.sshkeys import is_public_key

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCK: Final = re.compile(
    r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL
)
_KEY: Final = re.compile(r"\b(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) ([A-Za-z0-9+/]+={0,2})")
_MARK: Final = "gpuprep:"
_NEW: Final = ":new"  # was not logged in to yet
_FIELDS: Final = 4  # host, kind, key, mark


class OtherKeyError(Exception):
    """Somebody else's line says another key for the address."""


def in_console(text: str) -> tuple[str, ...]:
    """Return the public host keys that cloud-init has told, of the last boot; empty = none yet."""
    blocks = _BLOCK.findall(text)
    if not blocks:
        return ()
    return tuple(
        f"{kind} {blob}" for kind, blob in _KEY.findall(blocks[-1]) if is_public_key(kind, blob)
    )


def reached(path: Path, ocid: str) -> bool:
    """Return whether an instance was once logged in to with the keys that are kept of it."""
    return any(line.split()[-1] == _MARK + ocid for line in _own_lines(path, ocid))


def kept(path: Path, ocid: str) -> tuple[str, ...]:
    """Return the keys that are kept of an instance.

    cloud-init tells them at the first boot only, so the console may have forgotten them.
    """
    return tuple(" ".join(line.split()[1:3]) for line in _own_lines(path, ocid))


def _own_lines(path: Path, ocid: str) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    marks = {_MARK + ocid, _MARK + ocid + _NEW}
    return [line for line in lines if len(line.split()) == _FIELDS and line.split()[-1] in marks]


def record(
    path: Path, ocid: str, address: str, keys: Sequence[str], *, reached: bool = False
) -> None:
    """Keep the keys of an instance under its address; those of an earlier one there are dropped.

    Args:
        path: the known_hosts file.
        ocid: the instance.
        address: its address.
        keys: its public host keys.
        reached: whether it was logged in to with them, and is done with setting itself up.

    Raises:
        OtherKeyError: somebody else's line says another key for the address: that one stays, and
            the user decides.
        ConfigError: the file cannot be written.

    """
    ipaddress.ip_address(address)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mark = _MARK + ocid + ("" if reached else _NEW)
            _replace(path, mark, address, keys)
    except OSError as error:
        raise ConfigError(f"known_hosts {path}: {error.strerror}") from None


def _replace(path: Path, mark: str, address: str, keys: Sequence[str]) -> None:
    ocid = mark.removeprefix(_MARK).removesuffix(_NEW)
    old = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    lines = []
    for number, line in enumerate(old.splitlines(), 1):
        fields = line.split()
        names = fields[0].split(",") if fields else []
        ours = bool(fields) and fields[-1].startswith(_MARK)
        if ours and (address in names or fields[-1].removesuffix(_NEW) == f"{_MARK}{ocid}"):
            continue
        if address in names and not ours and " ".join(fields[1:3]) not in keys:
            same_kind = any(one.split()[0] == fields[1] for one in keys if len(fields) > 1)
            if same_kind:
                raise OtherKeyError(
                    f"{path}, line {number}, has another key for {address} than the console of "
                    f"{ocid}; if that host is gone: ssh-keygen -f {path} -R {address}"
                )
        lines.append(line)
    lines += [f"{address} {key} {mark}" for key in keys]
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".known_hosts-", delete=False, encoding="utf-8",
        errors="surrogateescape",
    ) as file:  # fmt: skip
        file.write("\n".join(lines) + "\n")
        os.fchmod(file.fileno(), mode)
    Path(file.name).replace(path)
