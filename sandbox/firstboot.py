"""What turns the common image into one particular host: ssh keys, a kernel's name, files."""

from __future__ import annotations

import io
import tarfile
import time
from typing import TYPE_CHECKING

from sandbox import uname
from sandbox.images import LOGIN_USER, os_of
from sandbox.paths import LOGIN_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.register import Host

_LOGIN_ID = 1000  # of the first user that useradd makes


def archive_of(host: Host) -> bytes:
    """Tar stream to unpack over the root of the host's file system before it boots."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content, mode, owner in _files(host):
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.mtime = len(content), mode, int(time.time())
            member.uid = member.gid = owner
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _files(host: Host) -> Iterator[tuple[str, bytes, int, int]]:
    """Path, content, mode and owner of each file."""
    key = host.folder / "ssh_host_ed25519_key"
    yield "etc/ssh/ssh_host_ed25519_key", key.read_bytes(), 0o600, 0
    yield "etc/ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_bytes(), 0o644, 0
    authorized = LOGIN_KEY.with_suffix(".pub").read_bytes()
    yield f"home/{LOGIN_USER}/.ssh/authorized_keys", authorized, 0o600, _LOGIN_ID
    if host.container:  # a virtual machine runs Debian's own kernel
        for path, content, mode in uname.files(os_of(host.spec.image)):
            yield path, content, mode, 0
    for path, file in host.spec.files.items():
        yield path.lstrip("/"), file.content.encode(), int(file.mode, 8), 0
