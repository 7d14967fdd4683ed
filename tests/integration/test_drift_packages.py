"""The drift matrix for packages: every package of the stack removed, or at another version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from drift import HOST, Alteration, Batch, check_alteration, check_whole, run_batch

from gpuprep.model.names import matches
from gpuprep.packages.deb import parse_depends, version_key
from sandbox.paths import STATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab import Lab, Restore

pytestmark = pytest.mark.sandbox

INDEXES = ("compute/cuda/repos/debian12/x86_64", "kernel")
HOLDS = frozenset({"gpu_driver.hold.packages", "cudnn.hold.packages"})
# What a removed package may take with it.
CONSEQUENCES = frozenset({"gpu_driver.unit.nvidia-persistenced", "cuda_toolkit.alternative.cuda"})


def offered(indexes: Iterable[str] = INDEXES) -> dict[str, list[str]]:
    """Versions of each package that the sandbox's repositories offer, oldest first."""
    found: dict[str, list[str]] = {}
    for index in indexes:
        for stanza in (STATE / "www" / index / "Packages").read_text().split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version): (.*)$", stanza, re.MULTILINE))
            if fields:
                found.setdefault(fields["Package"], []).append(fields["Version"])
    return {name: sorted(versions, key=version_key) for name, versions in found.items()}


def role_of(name: str) -> str:
    if matches(name, ("*cudnn*",)):
        return "cudnn"
    toolkit = ("cuda-*", "libnvvm-*", "*-13-0", "!cuda-drivers*")
    return "cuda_toolkit" if matches(name, toolkit) else "gpu_driver"


def stack_packages(lab: Lab, host: str = HOST, indexes: Iterable[str] = INDEXES) -> dict[str, str]:
    """Installed packages of the sandbox's repositories with their version, leaves first."""
    form = "${Package}\\t${Version}\\t${Depends}\\n"
    rows = [line.split("\t") for line in lab.run(host, "dpkg-query", "-W", "-f", form).splitlines()]
    # dkms is the distribution's, the sandbox's stands for it.
    stack = offered(indexes).keys() - {"dkms"}
    ours = {name: (version, depends) for name, version, depends in rows if name in stack}
    ordered: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in ordered or name not in ours:
            return
        for group in parse_depends(ours[name][1]):
            for relation in group:
                visit(relation.name)
        ordered[name] = ours[name][0]

    for name in sorted(ours):
        visit(name)
    return ordered


def removed(name: str) -> Alteration:
    return altered(name, f"dpkg --remove --force-all {name} 2>&1")


def moved(name: str, version: str) -> Alteration:
    return altered(name, f"cd /tmp && apt-get -q download {name}={version} && "
                   f"dpkg --force-all -i {name}_*.deb && rm {name}_*.deb")  # fmt: skip


def altered(name: str, how: str) -> Alteration:
    return Alteration(
        name,
        how,
        frozenset({f"{role_of(name)}.package.{name}"}),
        f"dpkg-query -W -f '${{Version}} ${{Status}}' {name} 2>&1 || true",
        HOLDS | CONSEQUENCES,
    )


def older(
    lab: Lab, role: str, host: str = HOST, indexes: Iterable[str] = INDEXES
) -> dict[str, str]:
    """Packages of a role that are offered in an older version as well, with that version."""
    # The packages of a toolkit are bound loosely: what satisfies the others is no drift.
    offers = offered(indexes)
    return {
        name: versions[versions.index(there) - 1]
        for name, there in stack_packages(lab, host, indexes).items()
        if role_of(name) == role and (versions := offers[name]).index(there) > 0
    }


def report(subtests: pytest.Subtests, batch: Batch, alterations: list[Alteration]) -> None:
    for one in alterations:
        with subtests.test(one.name):
            # Once a package that needs it is gone or moves as well, the plan names only that one.
            check_alteration(batch, one, planned=False)
    with subtests.test("nothing else changes"):
        check_whole(batch, alterations)


def test_every_package_removed(lab: Lab, restore: Restore, subtests: pytest.Subtests) -> None:
    restore(HOST)
    packages = stack_packages(lab)
    assert len(packages) > 30
    alterations = [removed(name) for name in packages]
    report(subtests, run_batch(lab, alterations), alterations)


# The driver in thirds: the version that most packages have must stay the right one.
@pytest.mark.parametrize(
    "share", [("gpu_driver", 0, 3), ("gpu_driver", 1, 3), ("gpu_driver", 2, 3), ("cudnn", 0, 2)]
)
def test_every_package_at_another_version(
    lab: Lab, restore: Restore, subtests: pytest.Subtests, share: tuple[str, int, int]
) -> None:
    role, part, parts = share
    restore(HOST)
    others = older(lab, role)
    assert len(others) >= 4
    some = list(others.items())[part::parts]
    alterations = [moved(name, version) for name, version in some]
    report(subtests, run_batch(lab, alterations), alterations)
