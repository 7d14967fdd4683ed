"""A package index with small Python packages, named as those that Faceswap needs first.

Each has one module that knows its version; ``torch`` and ``torchvision`` have just what a test that
they start asks of them. The index has the form of PEP 503, the files that of wheels.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

INDEX: Final = "python/simple"
"""Below the web root."""
_EPOCH: Final = (2025, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A pure Python package; ``modules`` are sources by path, None = one that knows its version."""

    name: str
    version: str
    modules: Mapping[str, str] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """Return the name of its file."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"

    def content(self) -> bytes:
        """Return the file; equal packages give equal files."""
        about = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        known = f'__version__ = "{self.version}"\n'
        files = {path: known + text for path, text in self.modules.items()} or {
            f"{self.name.replace('-', '_')}/__init__.py": known
        }
        files[f"{about}/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        )
        files[f"{about}/WHEEL"] = (
            "Wheel-Version: 1.0\nGenerator: sandbox\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        record = [f"{path},{_hash(text)},{len(text)}" for path, text in files.items()]
        files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,", ""])
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, text in files.items():
                archive.writestr(zipfile.ZipInfo(path, _EPOCH), text)
        return buffer.getvalue()


TORCH: Final = "def tensor(values):\n    return list(values)\n"
OPS: Final = """
def nms(boxes, scores, threshold):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda number: -scores[number]):
        if all(boxes[index] != boxes[other] for other in kept):
            kept.append(index)
    return kept
"""
WHEELS: Final = (
    Wheel("torch", "2.12.1", {"torch/__init__.py": TORCH}),
    Wheel(
        "torchvision",
        "0.27.1",
        {"torchvision/__init__.py": "from . import ops\n", "torchvision/ops.py": OPS},
    ),
    Wheel("opencv-python-headless", "5.0.0.93", {"cv2/__init__.py": ""}),
    Wheel("tqdm", "4.67.1"),
    Wheel("tqdm", "4.66.0"),
    Wheel("colorama", "0.4.6"),
)


def build(www: Path, wheels: Iterable[Wheel] = WHEELS) -> None:
    """Write the index below a web root."""
    pages: dict[str, list[str]] = {}
    for wheel in wheels:
        data = wheel.content()
        place = www / INDEX / wheel.name / wheel.filename
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        link = f'<a href="{wheel.filename}#sha256={digest}">{wheel.filename}</a><br>'
        pages.setdefault(wheel.name, []).append(link)
    _write_pages(www / INDEX, pages)


def publish(www: Path, folder: Path) -> str:
    """Serve the wheels of a folder, as they were published; return the index below the web root."""
    index = f"{INDEX}-{folder.name}"
    pages: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.whl")):
        name = re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()
        place = www / index / name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.hardlink_to(path)
        pages.setdefault(name, []).append(f'<a href="{path.name}">{path.name}</a><br>')
    _write_pages(www / index, pages)
    return index


def _write_pages(folder: Path, pages: Mapping[str, list[str]]) -> None:
    for name, links in pages.items():
        page = "<!DOCTYPE html><html><body>\n" + "\n".join(links) + "\n</body></html>\n"
        (folder / name / "index.html").write_text(page)


def lock(*names: str) -> str:
    """Return a lock with the first version of these packages."""
    lines = []
    for name in names:
        wheel = next(wheel for wheel in WHEELS if wheel.name == name)
        digest = hashlib.sha256(wheel.content()).hexdigest()
        lines.append(f"{name}=={wheel.version} \\\n    --hash=sha256:{digest}\n")
    return "".join(lines)


def _hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"
