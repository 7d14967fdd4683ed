"""Label a video as synthetic: metadata of its container, and a caption that people see.

Run by the Python of Faceswap's environment, which has PyAV and Pillow; a program of its own.
"""

import fractions
import importlib
import json
import sys

MARGIN = 0.015  # of the picture's height
SMALLEST = 12  # pixels of the caption's letters
LETTERS = 0.045  # of the picture's height


def metadata_of(asked):
    """Return the tags of a container."""
    tags = {"synthetic_media": "true"}
    tags.update({str(name): str(value) for name, value in asked.items()})
    return tags


def caption_drawer(text, width, height):
    """Return a function that draws a caption into the lower right corner of a picture."""
    image_draw = importlib.import_module("PIL.ImageDraw")
    image_font = importlib.import_module("PIL.ImageFont")
    size = max(SMALLEST, int(height * LETTERS))
    try:
        font = image_font.load_default(size)
    except TypeError:  # before Pillow 10.1
        font = image_font.load_default()
    margin = max(2, int(height * MARGIN))

    def draw(picture):
        pen = image_draw.Draw(picture)
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        x, y = width - (right - left) - 2 * margin, height - (bottom - top) - 2 * margin
        box = (x - margin, y - margin, width - 1, height - 1)
        pen.rectangle(box, fill=(0, 0, 0))
        pen.text((x - left, y - top), text, font=font, fill=(255, 255, 255))
        return picture

    return draw


def write(av, asked):
    """Write the labelled video; return the number of its pictures."""
    form = {"format": "mp4", "options": {"movflags": "use_metadata_tags+faststart"}}
    with av.open(asked["source"]) as source, av.open(asked["target"], "w", **form) as target:
        target.metadata.update(metadata_of(asked["metadata"]))
        return copy(av, source, target, asked["caption"])


def copy(av, source, target, caption):
    """Copy sound and pictures, these with a caption if there is one; return their number."""
    count = 0
    video = source.streams.video[0]
    audio = list(source.streams.audio)
    copies = {stream.index: target.add_stream_from_template(stream) for stream in audio}
    if caption:
        rate = video.average_rate or fractions.Fraction(25)
        made = target.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium"})
        made.width, made.height, made.pix_fmt = video.width, video.height, "yuv420p"
        draw = caption_drawer(caption, video.width, video.height)
    else:
        copies[video.index] = target.add_stream_from_template(video)
    for packet in source.demux(video, *audio):
        drawn = caption and packet.stream.index == video.index
        if drawn:
            for frame in packet.decode():
                picture = av.VideoFrame.from_image(draw(frame.to_image()))
                picture.pts, picture.time_base = frame.pts, frame.time_base
                target.mux(made.encode(picture))
                count += 1
        elif packet.dts is not None:
            count += packet.stream.index == video.index
            packet.stream = copies[packet.stream.index]
            target.mux(packet)
    if caption:
        target.mux(made.encode(None))
    return count


def read_back(av, asked, count):
    """Return what is wrong with the video that was written; nothing is taken for granted."""
    with av.open(asked["target"]) as made:
        found = dict(made.metadata)
        lost = [k for k, v in metadata_of(asked["metadata"]).items() if found.get(k) != v]
        frames = sum(1 for _ in made.decode(video=0))
        codec = made.streams.video[0].codec_context.name
    with av.open(asked["source"]) as source:
        expected = sum(1 for _ in source.decode(video=0))
    if lost:
        return "the container lost %s" % ", ".join(sorted(lost)), frames, codec
    if not expected == frames == count:
        return "it has %d frames instead of %d" % (frames, expected), frames, codec
    return "", frames, codec


def main(request, answer):
    """Label as the request says, and write the answer; return the exit code."""
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        sys.stderr.write("the environment has no PyAV: %s\n" % error)
        return 1
    with open(request, encoding="utf-8") as handle:
        asked = json.load(handle)
    wrong, frames, codec = read_back(av, asked, write(av, asked))
    if wrong:
        sys.stderr.write("the labelled video is not sound: %s\n" % wrong)
        return 1
    with open(answer, "w", encoding="utf-8") as handle:
        json.dump({"frames": frames, "codec": codec, "caption": asked["caption"]}, handle)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
