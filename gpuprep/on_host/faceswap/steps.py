"""What a job consists of: its steps in order, what each depends on, and its command."""

import os

from . import saves
from .files import digest_of, read_json

CPU = "cpu"
FILE_PLUGIN = "file"
FEWEST_FACES = 25  # of a side; with fewer Faceswap does not train


class Step:
    """One step of a job.

    Attributes:
        name: ``extract-a-1``, ``train``, ``convert``.
        kind: ``extract``, ``train`` or ``convert``.
        depends: what it is made from; another value means that it has to be made again.
        side: of an extraction, ``a`` or ``b``.
        source: of an extraction, as the job describes it.

    """

    def __init__(self, name, kind, depends, side=None, source=None):
        self.name = name
        self.kind = kind
        self.depends = depends
        self.side = side
        self.source = source


class Place:
    """Where everything of a job is.

    Attributes:
        job: description of the job, as the controller wrote it.
        installed: record of Faceswap's installation.
        inputs: folder of all files that jobs read, each named by its SHA-256.
        work: folder that the job may write to.

    """

    def __init__(self, job, installed, inputs):
        self.job = job
        self.installed = installed
        self.inputs = inputs
        self.work = os.path.join(installed["root"], "jobs", job["name"])
        self.model = job["train"]["model"].replace("-", "_")  # as Faceswap names its files

    def path(self, *names):
        """Return a path in the job's folder."""
        return os.path.join(self.work, *names)

    def marker(self, step):
        """Return the path of the marker that tells that a step is done."""
        return self.path(step + ".done")

    def input(self, sha256):
        """Return the path of an input."""
        return os.path.join(self.inputs, sha256)

    @property
    def output(self):
        """The finished video."""
        return self.path("out", self.job["output"])


def steps(place):
    """Return the steps of a job, in order."""
    job, installed = place.job, place.installed
    made_by = {"commit": installed["commit"], "lock": installed["lock"]}
    weights = sorted(one["sha256"] for one in job["weights"])
    found = []
    for side in ("a", "b"):
        for number, source in enumerate(job[side]["sources"], 1):
            depends = {
                "source": source["sha256"],
                "alignments": source["alignments"] and source["alignments"]["sha256"],
                "extract": job["extract"],
                "weights": weights,
                "by": made_by,
            }
            nth = every_nth(job["extract"], converted=is_converted(job, side, source))
            if nth != job["extract"]["every_nth"]:
                depends["every_nth"] = nth
            name = "extract-%s-%d" % (side, number)
            found.append(Step(name, "extract", depends, side, source))
    faces = trained_on(job)
    train = {"faces": faces, "model": job["train"]["model"], "batch": job["train"]["batch"]}
    found.append(Step("train", "train", train))
    convert = {
        "faces": faces,
        "train": train,
        "target": job["train"]["target_iterations"],
        "convert": job["convert"],
        "output": job["output"],
        "by": made_by,
    }
    found.append(Step("convert", "convert", convert))
    return found


def every_nth(options, *, converted):
    """Return which frames of a source are extracted.

    What is converted needs landmarks of every frame: Faceswap leaves others as they are. A file of
    landmarks has them all.

    Args:
        options: those of the extraction.
        converted: the source is the one that is converted.

    """
    found = {options["detector"], options["aligner"]} != {FILE_PLUGIN}
    return 1 if found and converted else options["every_nth"]


def is_converted(job, side, source):
    """Return whether a source is the one that is converted."""
    return side == "a" and source["sha256"] == job["convert"]["source"]


def trained_on(job):
    """Return the digest of what a job's faces come from."""
    return digest_of(
        [[one["sha256"] for one in job[side]["sources"]] for side in ("a", "b")] + [job["extract"]]
    )


def is_done(place, step):
    """Return whether a step need not be made: its marker tells of the same inputs."""
    marker = read_json(place.marker(step.name))
    if not isinstance(marker, dict) or marker.get("depends") != digest_of(step.depends):
        return False
    if step.kind == "train":
        return left(place) <= 0
    results = [place.output] if step.kind == "convert" else [place.path(faces_of(step))]
    return all(os.path.exists(path) for path in results)


def left(place):
    """Return how many iterations are to be trained; Faceswap's -i counts those of one run."""
    reached = saves.iterations(place.path("model"), place.model)
    return place.job["train"]["target_iterations"] - reached


def faces_of(step):
    """Return the folder of the faces of a source."""
    return "faces-" + step.name[len("extract-") :]


def source_of(place, side, number, source):
    """Return where Faceswap finds a source under its own name, and its landmarks beside it."""
    folder = place.path("sources", "%s-%d" % (side, number))
    return folder if source["files"] else os.path.join(folder, source["name"])


def arguments(place, step, target):
    """Return the arguments of Faceswap for a step.

    Args:
        place: the job's.
        step: the step.
        target: where the results go.

    """
    job = place.job
    log = ["-F", place.path("faceswap-%s.log" % step.name)]
    if step.kind == "extract":
        number = int(step.name.rsplit("-", 1)[1])
        options = job["extract"]
        source = source_of(place, step.side, number, step.source)
        nth = every_nth(options, converted=is_converted(job, step.side, step.source))
        return [
            *["extract", "-i", source, "-o", target],
            *["-D", options["detector"], "-A", options["aligner"]],
            *["-z", str(options["size"]), "-N", str(nth)],
            *log,
        ]
    if step.kind == "train":
        options = job["train"]
        several = ["-d"] if len(options["gpus"]) > 1 and uses_gpu(place) else []
        return [
            *["train", "-A", place.path("faces-a"), "-B", place.path("faces-b")],
            *["-m", place.path("model"), "-t", options["model"], "-b", str(options["batch"])],
            *["-i", str(left(place)), "-s", str(options["save_every"])],
            *["-I", "0"],  # no snapshots: each is one more copy of the model, and none is removed
            *several,
            *log,
        ]
    options = job["convert"]
    sources = job["a"]["sources"]
    number = [one["sha256"] for one in sources].index(options["source"]) + 1
    source = source_of(place, "a", number, sources[number - 1])
    return [
        *["convert", "-i", source, "-o", target, "-m", place.path("model")],
        *["-c", options["color"], "-M", options["mask"], "-w", "ffmpeg"],
        *["-j", str(options["processes"])],
        *log,
    ]


def uses_gpu(place):
    """Return whether Faceswap was installed for GPUs."""
    return place.installed["backend"] != CPU


def environment(place):
    """Return the variables that Faceswap runs with."""
    installed = place.installed
    gpus = ",".join(map(str, place.job["train"]["gpus"])) if uses_gpu(place) else ""
    prefix = os.path.dirname(installed["python"])
    return {
        "PATH": prefix + ":/usr/local/bin:/usr/bin:/bin",
        "HOME": installed["root"],
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "FACESWAP_BACKEND": installed["backend"],
        "KERAS_BACKEND": "torch",
        "KERAS_HOME": place.path("keras"),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": gpus,
        "XDG_CACHE_HOME": place.path("cache"),
    }
