"""The resolver's answer as plain JSON types: what ``explain --output json`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuprep.model import Refusal
from gpuprep.resolve.driver_kernel import CHOICE

if TYPE_CHECKING:
    from gpuprep.model import Package, Stack


def package_spec(package: Package, family: str) -> str:
    """Spell a package for its manager: ``name``, ``name=version`` or ``name-version``."""
    if package.version is None:
        return package.name
    if family == "deb":
        return f"{package.name}={package.version}"
    return f"{package.name}-{package.version.removesuffix('-*')}"


def answer(outcome: Stack | Refusal) -> dict[str, Any]:
    """Return the answer with the published keys; a refusal has the single key ``refusal``."""
    if isinstance(outcome, Refusal):
        return {"refusal": {"code": outcome.code, "message": outcome.message}}
    stack = outcome
    versions = [toolkit.version for toolkit in stack.cuda]
    return {
        "branch": stack.branch,
        "flavour": stack.flavour,
        "kernels": next((r.value for r in stack.reasons if r.choice == CHOICE), None),
        "cuda": versions[0] if len(versions) == 1 else versions or None,
        "cudnn": stack.cudnn,
        "stream": stack.stream,
        "version_locks": list(stack.version_locks),
        "repo": stack.repository.url if stack.repository else None,
        "packages": [package_spec(package, stack.family) for package in stack.packages],
        "holds": list(stack.holds),
        "dkms_toolset": stack.dkms_toolset,
        "warnings": [warning.code for warning in stack.warnings],
    }
