"""The variable by which a user sets each field of the desired stack: messages name that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE_OF: Mapping[str, str] = {
    "components": "gpuprep_components",
    "source": "gpu_driver_source",
    "channel": "gpuprep_channel",
    "branch": "gpu_driver_branch",
    "version": "gpu_driver_version",
    "flavour": "gpu_driver_flavour",
    "profile": "gpu_driver_profile",
    "keep_driver": "gpu_driver_branch",  # set to keep
    "cuda": "cuda_toolkit_versions",
    "cuda_default": "cuda_toolkit_default",
    "cudnn": "cudnn_version",
    "forward_compat": "cuda_toolkit_forward_compat",
    "allow_unknown_gpu": "gpuprep_allow_unknown_gpu",
    "as_of": "gpuprep_as_of",
    "mirror": "gpuprep_mirror",
    "mirror_fingerprint": "gpuprep_mirror_fingerprint",
    "conda_version": "conda_installer_version",
    "conda_mirror": "conda_mirror",
    "conda_sha256": "conda_installer_sha256",
    "locked": "gpuprep_lock_file",
    "faceswap_variant": "faceswap_variant",
    "faceswap_backend": "faceswap_backend",
    "faceswap_python": "faceswap_python",
    "faceswap_commit": "faceswap_commit",
}
"""By field of ``DesiredStack``; no variable sets ``allow_eol``, only a facts file and Python do."""


def variable_of(field: str) -> str:
    """Return the variable that sets a field of ``DesiredStack``, or the field where none does."""
    return VARIABLE_OF.get(field, field)
