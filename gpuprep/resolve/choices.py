"""Settings that no host could have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.model.variables import variable_of
from gpuprep.resolve.case import Refused

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Catalog
    from gpuprep.model import DesiredStack


def check_choices(desired: DesiredStack, catalog: Catalog, components: tuple[str, ...]) -> None:
    """Refuse values that are none of the possible ones; ``components`` are the known names.

    Raises:
        Refused: naming the setting and the values it may have.

    """
    choices = {
        "channel": tuple(catalog.channels),
        "flavour": ("auto", "open", "proprietary"),
        "profile": ("full", "compute"),
        "source": ("auto", "nvidia", "distro"),
        "faceswap_backend": ("auto", "nvidia", "cpu"),
    }
    for setting, possible in choices.items():
        _one_of(setting, getattr(desired, setting), possible)
    for component in desired.components or ():
        _one_of("components", component, components)


def _one_of(setting: str, value: str, possible: tuple[str, ...]) -> None:
    if value not in possible:
        expected = f"it must be one of {', '.join(possible)}"
        raise Refused(
            "E_SETTING", setting, setting=variable_of(setting), value=value, expected=expected
        )
