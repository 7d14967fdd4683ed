"""The drift matrix for packages on Ubuntu: each removed, each at another version, and many at once.

On a host with NVIDIA's driver, whose packages have the branch in their names and a pin of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from drift import run_batch
from test_drift_packages import moved, older, removed, report, stack_packages

if TYPE_CHECKING:
    from lab import Lab, Restore

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

HOST = "ub-24"
INDEXES = ("compute/cuda/repos/ubuntu2404/x86_64",)
PIN = "nvidia-driver-pinning-580"
LIBRARY = "libnvidia-cfg1-580"
# The pin cannot come alone while others are broken. The root goes last: it brings its own along.
AT_ONCE = ("libnvidia-gl-580", "nvidia-utils-580", PIN, "nvidia-open-580")


def test_every_package_removed(lab: Lab, ub_restore: Restore, subtests: pytest.Subtests) -> None:
    ub_restore(HOST)
    packages = stack_packages(lab, HOST, INDEXES)
    assert {*AT_ONCE, LIBRARY} < set(packages)
    alterations = [removed(name) for name in packages]
    report(subtests, run_batch(lab, alterations, HOST), alterations)


@pytest.mark.parametrize("part", range(3))
def test_every_package_at_another_version(
    lab: Lab, ub_restore: Restore, subtests: pytest.Subtests, part: int
) -> None:
    ub_restore(HOST)
    others = older(lab, "gpu_driver", HOST, INDEXES)
    del others["nvidia-dkms-580-open"]  # an older one's module does not build on this kernel
    assert len(others) > 10
    alterations = [moved(name, version) for name, version in list(others.items())[part::3]]
    report(subtests, run_batch(lab, alterations, HOST), alterations)


@pytest.mark.parametrize("with_library", [True, False])
def test_a_pin_that_is_gone_from_a_broken_set(
    lab: Lab, ub_restore: Restore, subtests: pytest.Subtests, *, with_library: bool
) -> None:
    """Without the library at another version, all that is missing is what the rest brings."""
    ub_restore(HOST)
    version = older(lab, "gpu_driver", HOST, INDEXES)[LIBRARY]
    alterations = [
        *([moved(LIBRARY, version)] if with_library else []),
        *(removed(name) for name in AT_ONCE),
    ]
    report(subtests, run_batch(lab, alterations, HOST), alterations)
