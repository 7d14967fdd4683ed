"""A job as its host's runner reads it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuprep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gpuprep.workloads.faceswap.jobs import Job
    from gpuprep.workloads.faceswap.media import Media

SCHEMA: Final = 1
# Terms of others: IPTC's vocabulary of where digital media come from.
TERMS: Final[Mapping[str, str]] = json.loads(
    Path(__file__).with_name("labels.json").read_text(encoding="utf-8")
)


def describe(job: Job) -> dict[str, Any]:
    """Return a job as JSON types; the same job gives the same description."""
    train = job.train
    return {
        "schema": SCHEMA,
        "name": job.name,
        "purpose": job.purpose,
        "a": {"subject": job.a.subject, "sources": [_source(one) for one in job.a.sources]},
        "b": {"subject": job.b.subject, "sources": [_source(one) for one in job.b.sources]},
        "extract": {
            "detector": job.extract.detector,
            "aligner": job.extract.aligner,
            "every_nth": job.extract.every_nth,
            "size": job.extract.size,
        },
        "train": {
            "model": train.model,
            "batch": train.batch,
            "target_iterations": train.target_iterations,
            "save_every": train.save_every,
            "gpus": list(train.gpus),
        },
        "convert": {
            "source": job.convert.source.sha256,
            "mask": job.convert.mask,
            "color": job.convert.color,
            "caption": job.convert.caption,
            "processes": job.convert.processes,
        },
        "output": job.output.name,
        "weights": [{"name": one.path.name, "sha256": one.sha256} for one in job.weights],
        "consent": {
            "synthetic_material": job.consent.synthetic,
            "manifest_sha256": job.consent.sha256,
            "subjects": sorted(
                {side.subject for side in (job.a, job.b)} & set(job.consent.subjects)
            ),
        },
        "label": {
            **TERMS,
            "title": job.output.stem,
            "comment": f"Synthetic media: a face was replaced by software. gpuprep job {job.name}.",
        },
        "tool": f"gpuprep {__version__}",
    }


def _source(media: Media) -> dict[str, Any]:
    beside = media.alignments
    return {
        "name": media.path.name,
        "sha256": media.sha256,
        "files": [list(pair) for pair in media.files],
        "frames": media.frames,
        "alignments": beside and {"name": beside.name, "sha256": media.alignments_sha256},
    }


def inputs(jobs: Iterable[Job]) -> dict[str, Path]:
    """Return all files that jobs read, by digest."""
    found: dict[str, Path] = {}
    for job in jobs:
        for media in (*job.a.sources, *job.b.sources):
            if media.files:
                found |= {sha256: media.path / name for name, sha256 in media.files}
            else:
                found[media.sha256] = media.path
            if media.alignments is not None and media.alignments_sha256 is not None:
                found[media.alignments_sha256] = media.alignments
        found |= {one.sha256: one.path for one in job.weights}
    return found


def bundle(files: Mapping[str, Path], wanted: Collection[str], path: Path) -> int:
    """Write an archive of files that are named by their digests; return its size in bytes."""
    with tarfile.open(path, "w") as archive:
        for sha256 in sorted(wanted):
            info = tarfile.TarInfo(sha256)
            info.size = files[sha256].stat().st_size
            with files[sha256].open("rb") as handle:
                archive.addfile(info, handle)
    return path.stat().st_size
