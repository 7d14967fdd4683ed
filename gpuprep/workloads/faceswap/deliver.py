"""The finished video on the controller: checked, signed if a certificate is given, delivered."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from gpuprep.workloads.faceswap import signing
from gpuprep.workloads.faceswap.decide import sidecar_of
from gpuprep.workloads.faceswap.media import digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gpuprep.workloads.faceswap.jobs import C2pa, Job


class DeliveryError(Exception):
    """A result cannot be delivered.

    Attributes:
        code: stable code.

    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def is_delivered(job: Job, sidecar: object, c2pa: C2pa | None) -> bool:
    """Return whether a job's video is in place already.

    Args:
        job: the job.
        sidecar: what lies beside the video on the host.
        c2pa: what it has to be signed with.

    """
    try:
        here = json.loads(sidecar_of(job.output).read_text(encoding="utf-8"))
        if not isinstance(sidecar, dict):
            return False
        return (
            here["made"] == sidecar["made"]
            and bool(here["label"]["c2pa"]) == (c2pa is not None)
            and digest(job.output) == here["video"]["sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def deliver(
    job: Job, video: Path, sidecar: Path, digests: Mapping[str, Any], c2pa: C2pa | None
) -> None:
    """Put a video and its sidecar where the job says, each whole or not at all.

    Args:
        job: the job.
        video: as it came from the host.
        sidecar: as it came from the host.
        digests: what the host says of both, by ``video`` and ``sidecar``.
        c2pa: what it is signed with; None = not.

    Raises:
        DeliveryError: what came is not what the host has, or cannot be signed.

    """
    for path, kind in ((video, "video"), (sidecar, "sidecar")):
        if digest(path) != digests.get(kind):
            raise DeliveryError("E_CHECKSUM", f"{path.name} was altered on its way")
    try:
        provenance = json.loads(sidecar.read_text(encoding="utf-8"))
        named = provenance["video"]["sha256"]
        labelled = provenance["synthetic_media"] is True and bool(provenance["label"]["metadata"])
        same = provenance["job"]["name"] == job.name
    except (ValueError, KeyError, TypeError) as error:
        raise DeliveryError("E_FS_LABEL", f"the sidecar cannot be read: {error}") from error
    if named != digests["video"] or not labelled or not same:
        raise DeliveryError("E_FS_LABEL", "the sidecar does not belong to the video")
    job.output.parent.mkdir(parents=True, exist_ok=True)
    fresh = job.output.with_name(f".{job.output.name}.new")
    if c2pa is None:
        shutil.copyfile(video, fresh)
    else:
        fresh.unlink(missing_ok=True)
        try:
            signing.sign(video, fresh, c2pa, provenance)
        except signing.SigningError as error:
            fresh.unlink(missing_ok=True)
            raise DeliveryError("E_FS_SIGN", str(error)) from error
        provenance["label"]["c2pa"] = True
        provenance["video"]["sha256"] = digest(fresh)
    beside = sidecar_of(job.output)
    fresh_beside = beside.with_name(f".{beside.name}.new")
    fresh_beside.write_text(json.dumps(provenance, indent=1, sort_keys=True) + "\n", "utf-8")
    fresh_beside.replace(beside)
    fresh.replace(job.output)
