"""Drawn faces that show nobody, as videos with the landmarks that Faceswap reads beside them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import av
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image as Picture

SIZE: Final = 320  # pixels, both ways
RATE: Final = 25  # frames in a second
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How a drawn face looks."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    width: float  # of the head, of its height


A: Final = Look((236, 188, 150), (60, 40, 30), 0.78)
B: Final = Look((150, 190, 236), (200, 120, 40), 0.88)


def _arc(centre: Point, radii: Point, begin: float, end: float, count: int) -> list[Point]:
    """Return points of an ellipse between two angles in degrees."""
    angles = [begin + (end - begin) * n / (count - 1) for n in range(count)]
    return [
        (
            centre[0] + radii[0] * math.cos(math.radians(a)),
            centre[1] + radii[1] * math.sin(math.radians(a)),
        )
        for a in angles
    ]


def landmarks(centre: Point, height: float, look: Look) -> list[Point]:
    """Return the 68 landmarks of a face in the usual order: jaw, brows, nose, eyes, mouth."""
    x, y = centre
    w = height * look.width

    def ring(at: Point, radii: Point, count: int) -> list[Point]:
        return _arc(at, radii, 180, 540 - 360 / count, count)

    eyes = [(x - 0.2 * w, y - 0.12 * height), (x + 0.2 * w, y - 0.12 * height)]
    points = _arc((x, y), (w / 2, height / 2), 180, 0, 17)
    for ex, ey in eyes:
        points += _arc((ex, ey - 0.06 * height), (0.11 * w, 0.04 * height), 200, 340, 5)
    points += [(x, y - 0.12 * height + n * 0.07 * height) for n in range(4)]
    points += _arc((x, y + 0.1 * height), (0.09 * w, 0.04 * height), 180, 0, 5)
    for eye in eyes:
        points += ring(eye, (0.08 * w, 0.03 * height), 6)
    mouth = (x, y + 0.26 * height)
    points += ring(mouth, (0.17 * w, 0.06 * height), 12)
    points += ring(mouth, (0.12 * w, 0.03 * height), 8)
    return points


def frame(look: Look, number: int) -> tuple[Picture, list[Point]]:
    """Return a picture and its landmarks; the face moves and talks."""
    turn = number / 6
    centre = (SIZE / 2 + 22 * math.sin(turn), SIZE / 2 + 12 * math.cos(turn * 0.7))
    height = SIZE * 0.56
    points = landmarks(centre, height, look)
    picture = Image.new("RGB", (SIZE, SIZE), (205, 215, 200))
    pen = ImageDraw.Draw(picture)
    half = (height * look.width / 2, height / 2)
    top = centre[1] - half[1] * 1.12
    pen.ellipse(
        (centre[0] - half[0] * 1.1, top, centre[0] + half[0] * 1.1, centre[1]), fill=look.hair
    )
    box = (centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1])
    pen.ellipse(box, fill=look.skin)
    for first in (36, 42):
        pen.polygon(points[first : first + 6], fill=(255, 255, 255), outline=(20, 20, 20))
        ex = sum(p[0] for p in points[first : first + 6]) / 6
        ey = sum(p[1] for p in points[first : first + 6]) / 6
        pen.ellipse((ex - 4, ey - 4, ex + 4, ey + 4), fill=(30, 40, 60))
    for first in (17, 22):
        pen.line(points[first : first + 5], fill=look.hair, width=5)
    pen.line(points[27:31], fill=(120, 80, 60), width=3)
    pen.line(points[31:36], fill=(120, 80, 60), width=3)
    pen.polygon(points[48:60], fill=(170, 50, 60))
    pen.polygon(points[60:68], fill=(90, 10 + 10 * (number % 5), 30))
    return picture, points


def draw(path: Path, look: Look, frames: int) -> None:
    """Write a video of a drawn face, and ``<name>_alignments.json`` beside it."""
    known = {}
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=RATE)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(1, frames + 1):
            picture, points = frame(look, number)
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            box = [round(v) for v in (min(xs) - 8, min(ys) - 30, max(xs) + 8, max(ys) + 8)]
            place = [[round(px, 2), round(py, 2)] for px, py in points]
            name = f"{path.stem}_{number:06d}{path.suffix}"
            known[name] = [{"detected": box, "landmarks_2d": place}]
            target.mux(stream.encode(av.VideoFrame.from_image(picture)))
        target.mux(stream.encode(None))
    beside = path.with_name(f"{path.stem}_alignments.json")
    beside.write_text(json.dumps(known), encoding="utf-8")
