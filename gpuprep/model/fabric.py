"""How the GPUs of a host are coupled: the one rule, for resolver and ladder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_FABRIC: Final = "none"
SWITCHED: Final = "fm"  # NVSwitch chips on the PCI bus, led by the fabric manager


def fabric_kind(shape: str | None, gpus: Iterable[str], nvswitches: int | None) -> str:
    """Return the kind of GPU fabric, a key of the catalog's ``fabrics`` or ``none``.

    The bus of an observed host decides over what its shape or model usually has: a virtual machine
    with one GPU of a coupled board has no switch and no use for a fabric manager. Newer boards
    hide their switches from the bus, so for them the model's word stays.

    Args:
        shape: kind that the host's shape usually has; None = shape not known.
        gpus: kinds that its GPU models usually have.
        nvswitches: NVSwitch chips on the bus; None = nobody looked.

    """
    kinds = (kind for kind in gpus if kind != NO_FABRIC)
    usual = next(kinds, NO_FABRIC) if shape is None else shape
    if nvswitches is not None and usual in (NO_FABRIC, SWITCHED):
        return SWITCHED if nvswitches else NO_FABRIC
    return usual
