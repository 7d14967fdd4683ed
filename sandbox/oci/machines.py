"""Real hosts behind launched instances: systemd, ssh and the user's own key, of the image's system.

What the sandbox does not have, instances do not have either: cloud-init, the metadata service, and
the rules of networks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gpuprep.catalog import load
from sandbox import hosts
from sandbox.fleet import HostSpec
from sandbox.images import LOGIN_USER
from sandbox.podman import podman

if TYPE_CHECKING:
    from sandbox.oci.routes import Json

FLEET: Final = "oci"
_SYSTEMS: Final = {"Debian": "debian", "Oracle Linux": "ol", "Canonical Ubuntu": "ubuntu"}


class SandboxHosts:
    """Starts a sandbox host for each instance.

    Args:
        prefix: begins the hosts' names, so that they can be told from others.

    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def start(self, instance: Json, image: Json) -> tuple[str, str]:
        """Start one and wait until it answers; gives its address and host keys."""
        spec = specification(self._name(instance), instance, image)
        (host,) = hosts.start_all((spec,), FLEET)
        return host.address, (host.folder / "ssh_host_ed25519_key.pub").read_text().strip()

    def power(self, instance: Json, *, on: bool) -> None:
        """Switch one on or off."""
        podman("start" if on else "stop", hosts.find(self._name(instance)).container)

    def remove(self, instance: Json) -> None:
        """Remove one."""
        hosts.stop(self._name(instance))

    def _name(self, instance: Json) -> str:
        label = re.sub(r"[^a-z0-9-]+", "-", instance["displayName"].lower()).strip("-")
        return f"{self._prefix}{label}-{instance['id'][-4:]}"[:42]


def specification(name: str, instance: Json, image: Json) -> HostSpec:
    """Return the host that an instance of an image becomes."""
    shape: Any = load().shapes.get(instance["shape"])
    gpus = (shape.gpu,) * shape.count if shape and shape.gpu else ()
    system = _SYSTEMS.get(image["operatingSystem"], image["operatingSystem"].lower())
    keys = (instance.get("metadata") or {}).get("ssh_authorized_keys", "")
    return HostSpec.from_dict(
        name,
        {
            "image": f"{system}-{image['operatingSystemVersion']}",
            "gpus": gpus,
            "shape": instance["shape"],
            # Instead of the sandbox's own key: only who launched it gets in.
            "files": {f"/home/{LOGIN_USER}/.ssh/authorized_keys": {"content": f"{keys}\n"}},
        },
    )
