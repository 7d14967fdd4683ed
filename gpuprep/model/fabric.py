"""How the GPUs of a host are coupled: the one rule, for resolver and ladder."""

from __future__ import annotations

from typing import Final

NO_FABRIC: Final = "none"
SWITCHED: Final = "fm"  # NVSwitch chips on the PCI bus, led by the fabric manager


def fabric_kind(usual: str, nvswitches: int | None) -> str:
    """Return the kind of GPU fabric, a key of the catalog's ``fabrics`` or ``none``.

    The bus of an observed host decides over what its shape or model usually has: a virtual machine
    with one GPU of a coupled board has no switch and no use for a fabric manager. Newer boards
    hide their switches from the bus, so for them the model's word stays.

    Args:
        usual: what the shape, or else the GPU model, has; ``none`` when nothing is known.
        nvswitches: NVSwitch chips on the bus; None = nobody looked.

    """
    if nvswitches is None:
        return usual
    if usual in (NO_FABRIC, SWITCHED):
        return SWITCHED if nvswitches else NO_FABRIC
    return usual
