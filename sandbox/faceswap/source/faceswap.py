"""Stand-in for Faceswap's command line: its flags, output, files, signals and exit codes.

It learns nothing: a model is noise with a number in it, a swapped face is a tinted one. An
iteration takes a hundredth of a second for each picture of the batch.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
import zipfile

START_SECONDS = 0.4
SAVE_SECONDS = 0.2
FEWEST_IMAGES = 25
MODEL_BLOCKS = 16  # of 64 KiB
ROOT = os.path.dirname(os.path.realpath(sys.argv[0]))


class FaceswapError(Exception):
    """What ends a command with exit code 1 and without a crash report."""


def log(level, text):
    print(f"{time.strftime('%m/%d/%Y %H:%M:%S')} {level:<8} {text}", flush=True)


def check_environment():
    """Fail as Faceswap does where something is missing, whatever the command is."""
    import tkinter  # noqa: F401 - imported for no use there too

    backend = os.environ.get("FACESWAP_BACKEND")
    if not backend:
        input("First time configuration. Please select the required backend: ")
    if os.environ.get("KERAS_BACKEND") != "torch":
        raise ModuleNotFoundError("No module named 'tensorflow'")
    if backend == "nvidia" and not shutil.which("nvidia-smi"):
        raise FaceswapError("There was an error reading from the Nvidia Machine Learning Library.")
    with open(os.path.join(ROOT, "config", "train.ini"), "w") as handle:
        handle.write("[global]\n")


def bar(name, count, total):
    print(
        f"\r{name}: {100 * count // total:3d}%| {count}/{total} [00:00<00:00]", end="", flush=True
    )


def frames_of(path):
    """Yield name and picture of each frame."""
    import av
    from PIL import Image

    if os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            if name.lower().endswith((".png", ".jpg")):
                yield name, Image.open(os.path.join(path, name)).convert("RGB")
        return
    stem, ending = os.path.splitext(os.path.basename(path))
    with av.open(path) as video:
        for number, frame in enumerate(video.decode(video=0), 1):
            yield f"{stem}_{number:06d}{ending}", frame.to_image()


def alignments_of(path, ending):
    inside = os.path.isdir(path)
    stem = os.path.join(path, "alignments") if inside else os.path.splitext(path)[0] + "_alignments"
    return stem + ending


def read_alignments(path, ending):
    try:
        with open(alignments_of(path, ending)) as handle:
            return json.load(handle)
    except FileNotFoundError:
        raise FaceswapError("no alignments file could be found") from None


def extract(options):
    if (options.detector, options.aligner) != ("file", "file"):
        raise FaceswapError("the stand-in detects nothing: -D file -A file")
    known = read_alignments(options.input_dir, ".json")
    os.makedirs(options.output_dir, exist_ok=True)
    frames = list(frames_of(options.input_dir))
    kept = {}
    for count, (name, picture) in enumerate(frames, 1):
        kept[name] = known.get(name, [])
        extracted = kept[name] if (count - 1) % options.every == 0 else []
        for number, face in enumerate(extracted):
            size = (options.size, options.size)
            crop = picture.crop(tuple(face["detected"])).resize(size)
            stem = os.path.splitext(name)[0]
            crop.save(os.path.join(options.output_dir, f"{stem}_{number}.png"))
        bar("Extracting faces", count, len(frames))
    print()
    with open(alignments_of(options.input_dir, ".fsa"), "w") as handle:
        json.dump(kept, handle)
    log("INFO", f"Images found:        {len(frames)}")
    log("INFO", f"Faces detected:      {sum(map(len, kept.values()))}")


class Model:
    """A model's files, written in Faceswap's order: in place, model, optimizer, state."""

    def __init__(self, folder, trainer, batch):
        os.makedirs(folder, exist_ok=True)
        self.name = trainer.replace("-", "_")
        self.file = os.path.join(folder, f"{self.name}.keras")
        self.state_file = os.path.join(folder, f"{self.name}_state.json")
        self.state = {"name": self.name, "sessions": {}, "lowest_avg_loss": 0.0, "iterations": 0}
        if os.path.exists(self.state_file):
            with open(self.state_file) as handle:
                self.state = json.load(handle)
        if os.path.exists(self.file):
            with zipfile.ZipFile(self.file) as archive:  # a torn one ends the command
                archive.read("model.weights.h5")
        self.session = {"timestamp": time.time(), "batchsize": batch, "iterations": 0, "config": {}}
        number = max(map(int, self.state["sessions"]), default=0) + 1
        self.state["sessions"][str(number)] = self.session
        self.recent = []

    def loss(self, side):
        return (0.4 if side == "A" else 0.5) / (1 + self.state["iterations"] / 50) + 0.05

    def save(self, *, leaving):
        print("\x1b[2K", end="\r")
        log("INFO", "Saving Model...")
        pause = SAVE_SECONDS / MODEL_BLOCKS
        with (
            open(self.file, "wb") as raw,
            zipfile.ZipFile(raw, "w") as archive,
            archive.open("model.weights.h5", "w") as entry,
        ):
            for _ in range(MODEL_BLOCKS):
                entry.write(random.randbytes(1 << 16))
                raw.flush()
                time.sleep(pause)
        if leaving:
            with zipfile.ZipFile(self.file, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("optimizer.pt", random.randbytes(1 << 16))
        with open(self.state_file, "w") as handle:
            json.dump(self.state, handle)
        average = sum(self.recent) / len(self.recent) if self.recent else 0.0
        self.recent = []
        backed_up = 0 < average < self.state["lowest_avg_loss"]
        if backed_up:
            for path in (self.file, self.state_file):
                shutil.copy(path, path + ".bk")
        self.state["lowest_avg_loss"] = average or self.state["lowest_avg_loss"]
        told = f" - Average total loss since last save: {average:.5f}" if average else ""
        log("INFO", f"[Saved model]{told}{' [Model backed up]' if backed_up else ''}")

    def step(self, batch):
        time.sleep(batch / 100)
        self.state["iterations"] += 1
        self.session["iterations"] += 1
        losses = [self.loss(side) for side in "AB"]
        self.recent.append(sum(losses))
        told = ", ".join(
            f"Loss {side}: {loss:.5f}" for side, loss in zip("AB", losses, strict=True)
        )
        print(f"[{time.strftime('%H:%M:%S')}] [#{self.state['iterations']:05d}] {told}", end="\r")
        sys.stdout.flush()


def check_images(options):
    for side, folder in (("A", options.input_a), ("B", options.input_b)):
        if not os.path.isdir(folder) or not os.listdir(folder):
            raise FaceswapError(f"Error: '{folder}' contains no images")
        if len(os.listdir(folder)) < FEWEST_IMAGES:
            raise FaceswapError(
                f"Side {side} contains fewer than {FEWEST_IMAGES} images.\n"
                "You need to provide a significant number of images to successfully train"
            )


def snapshot(folder, iteration, interval):
    """Copy the model beside its folder, one iteration after a save that is due for it."""
    if interval and iteration > 1 and (iteration - 1) % interval == 0:
        shutil.copytree(folder, f"{folder}_snapshot_{iteration - 1}_iters", dirs_exist_ok=True)


def train(options):
    check_images(options)
    asked = False
    try:
        time.sleep(START_SECONDS)
    except KeyboardInterrupt:
        log("INFO", "Exit requested! The trainer will complete its current cycle")
        asked = True
    model = Model(options.model_dir, options.trainer, options.batch_size)
    try:
        for iteration in range(1, options.iterations + 1):
            model.step(options.batch_size)
            snapshot(options.model_dir, model.state["iterations"], options.snapshot_interval)
            if asked:
                break
            if iteration == 1 or iteration % options.save_interval == 0:
                if options.no_logs:
                    raise AssertionError  # as Faceswap's own at this place
                model.save(leaving=False)
    except KeyboardInterrupt:
        log("INFO", "Exit requested! The trainer will complete its current cycle")
    model.save(leaving=True)


def convert(options):
    import av
    from PIL import Image

    models = [name for name in os.listdir(options.model_dir) if name.endswith(".keras")]
    if not models:
        raise FaceswapError(f"Model could not be found in folder '{options.model_dir}'")
    Model(options.model_dir, models[0][: -len(".keras")], 0)
    known = read_alignments(options.input_dir, ".fsa")
    stem = os.path.splitext(os.path.basename(options.input_dir))[0]
    os.makedirs(options.output_dir, exist_ok=True)
    with av.open(options.input_dir) as source:
        made = source.streams.video[0]
        rate, width, height = made.average_rate, made.width, made.height
    with av.open(os.path.join(options.output_dir, f"{stem}_converted.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frames = list(frames_of(options.input_dir))
        for count, (name, picture) in enumerate(frames, 1):
            for face in known.get(name, []):
                box = tuple(face["detected"])
                crop = picture.crop(box)
                swapped = Image.blend(crop, Image.new("RGB", crop.size, (40, 60, 200)), 0.6)
                picture.paste(swapped, box)
            target.mux(stream.encode(av.VideoFrame.from_image(picture)))
            bar("Converting", count, len(frames))
        target.mux(stream.encode(None))
    print()


def parser():
    """Return the command line, with the flags that Faceswap has."""
    top = argparse.ArgumentParser(prog="faceswap.py")
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("extract")
    one.add_argument("-i", "--input-dir", required=True)
    one.add_argument("-o", "--output-dir", required=True)
    one.add_argument("-D", "--detector", default="retinaface")
    one.add_argument("-A", "--aligner", default="hrnet")
    one.add_argument("-z", "--size", type=int, default=512)
    one.add_argument("-N", "--extract-every-n", dest="every", type=int, default=1)
    one.set_defaults(run=extract)
    two = commands.add_parser("train")
    two.add_argument("-A", "--input-A", dest="input_a", required=True)
    two.add_argument("-B", "--input-B", dest="input_b", required=True)
    two.add_argument("-m", "--model-dir", required=True)
    two.add_argument("-t", "--trainer", default="original")
    two.add_argument("-b", "--batch-size", type=int, default=16)
    two.add_argument("-i", "--iterations", type=int, default=1_000_000)
    two.add_argument("-s", "--save-interval", type=int, default=250)
    two.add_argument("-I", "--snapshot-interval", type=int, default=25_000)
    two.add_argument("-d", "--distributed", action="store_true")
    two.add_argument("-n", "--no-logs", action="store_true")
    two.set_defaults(run=train)
    three = commands.add_parser("convert")
    three.add_argument("-i", "--input-dir", required=True)
    three.add_argument("-o", "--output-dir", required=True)
    three.add_argument("-m", "--model-dir", required=True)
    three.add_argument("-c", "--color-adjustment", default="avg-color")
    three.add_argument("-M", "--mask-type", default="extended")
    three.add_argument("-w", "--writer", choices=["ffmpeg", "opencv", "pillow"], default="opencv")
    three.add_argument("-j", "--jobs", type=int, default=0)
    three.set_defaults(run=convert)
    for each in (one, two, three):
        each.add_argument("-F", "--logfile")
    return top


def main():
    try:
        check_environment()
        options = parser().parse_args()
        options.run(options)
    except FaceswapError as error:
        for line in str(error).splitlines():
            log("ERROR", line)
        return 1
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception:
        import traceback

        traceback.print_exc()
        log("CRITICAL", "An unexpected crash has occurred.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
