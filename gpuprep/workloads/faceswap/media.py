"""Files that a job reads: what they are, how many pictures they hold, and their digests."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICTURES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEOS: Final = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_HEADER: Final = 8  # bytes of a box's size and name
_LONG_HEADER: Final = 16


class MediaError(ValueError):
    """A source that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Media:
    """A video, or a folder of pictures.

    Attributes:
        path: where it is on the controller.
        sha256: of the file; of a folder, of its list of names and digests.
        files: name and SHA-256 of each file of a folder, in order; empty for a video.
        frames: pictures in it, None where the container does not tell without decoding.
        alignments: file of landmarks beside it, None where there is none.
        alignments_sha256: its digest.
        size: bytes of all of it.

    """

    path: Path
    sha256: str
    files: tuple[tuple[str, str], ...] = ()
    frames: int | None = None
    alignments: Path | None = None
    alignments_sha256: str | None = None
    size: int = 0


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of_folder(files: tuple[tuple[str, str], ...]) -> str:
    """Return the digest of a folder: of the lines ``sha256sum`` would print, sorted by name."""
    lines = "".join(f"{sha}  {name}\n" for name, sha in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def look(path: Path) -> Media:
    """Return what a source is.

    Raises:
        MediaError: it is not there, no video and no folder of pictures, or has no pictures.

    """
    if not path.name.isprintable():
        raise MediaError("has a name with control characters")
    try:
        if path.is_dir():
            return _folder(path)
        if not path.is_file():
            raise MediaError("is not there")
        if path.suffix.lower() not in VIDEOS:
            kinds = " ".join(sorted(VIDEOS))
            raise MediaError(f"is no video ({kinds}) and no folder of pictures")
        size = path.stat().st_size
        if size == 0:
            raise MediaError("is empty")
        frames = frames_of(path)
        if frames == 0:
            raise MediaError("has no frames")
        beside = path.with_name(f"{path.stem}_alignments.json")
        return _with_alignments(Media(path, digest(path), frames=frames, size=size), beside)
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}") from error


def _folder(path: Path) -> Media:
    names = sorted(
        one.name for one in path.iterdir() if one.is_file() and one.suffix.lower() in PICTURES
    )
    if not names:
        kinds = " ".join(sorted(PICTURES))
        raise MediaError(f"is a folder without pictures ({kinds})")
    files = tuple((name, digest(path / name)) for name in names)
    size = sum((path / name).stat().st_size for name in names)
    media = Media(path, digest_of_folder(files), files, len(files), size=size)
    return _with_alignments(media, path / "alignments.json")


def _with_alignments(media: Media, beside: Path) -> Media:
    if not beside.is_file():
        return media
    size = media.size + beside.stat().st_size
    return Media(media.path, media.sha256, media.files, media.frames, beside, digest(beside), size)


def frames_of(path: Path) -> int | None:
    """Return the number of frames that an MP4 or QuickTime file says its video has.

    None for other containers, whose frames only decoding can count, and for fragmented files.

    Raises:
        MediaError: the name says MP4 or QuickTime, the content does not.

    """
    if path.suffix.lower() not in {".mp4", ".m4v", ".mov"}:
        return None
    size = path.stat().st_size
    with path.open("rb") as handle:
        boxes = list(_boxes(handle, 0, size))
        if not {b"ftyp", b"moov"} & {name for name, _, _ in boxes}:
            raise MediaError("is no MP4 file, whatever its name says")
        moov = next(((start, end) for name, start, end in boxes if name == b"moov"), None)
        if moov is None:
            raise MediaError("is cut off: it has no index of its frames (moov)")
        names = {name for name, _, _ in _boxes(handle, *moov)}
        counts = list(_video_samples(handle, *moov))
    if b"mvex" in names:
        return None
    if not counts:
        raise MediaError("has no video in it")
    return max(counts)


def _video_samples(handle: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Yield the number of samples of each video track."""
    for name, inside, after in _boxes(handle, start, end):
        if name != b"trak":
            continue
        found = dict(_leaves(handle, inside, after))
        kind, sizes = found.get(b"hdlr", b""), found.get(b"stsz", b"")
        if kind[8:12] == b"vide":
            yield struct.unpack(">I", sizes[8:12])[0] if len(sizes) >= 12 else 0  # noqa: PLR2004


def _leaves(handle: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and first bytes of the boxes that hold no boxes, however deep."""
    for name, inside, after in _boxes(handle, start, end):
        if name in _CONTAINERS:
            yield from _leaves(handle, inside, after)
        else:
            handle.seek(inside)
            yield name, handle.read(min(after - inside, 64))


def _boxes(handle: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of the boxes in a range of a file."""
    while start + _HEADER <= end:
        handle.seek(start)
        size, name = struct.unpack(">I4s", handle.read(_HEADER))
        inside = start + _HEADER
        if size == 1:
            size = struct.unpack(">Q", handle.read(8))[0]
            inside = start + _LONG_HEADER
        elif size == 0:
            size = end - start
        if size < inside - start or start + size > end:
            return
        yield name, inside, start + size
        start += size
