"""The jobs that a user describes: read, checked strictly, and frozen.

Everything that can be told on the controller is told here, all at once, before a host is asked.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from gpuprep.errors import ConfigError
from gpuprep.on_host.faceswap.steps import FEWEST_FACES, FILE_PLUGIN, every_nth
from gpuprep.workloads.faceswap import consent as consents
from gpuprep.workloads.faceswap.media import Media, MediaError, digest, look
from gpuprep.workloads.faceswap.problems import Problem, raise_for, told
from gpuprep.workloads.faceswap.reading import Reader, load_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuprep.workloads.faceswap.consent import Consent

TOP: Final = "faceswap_jobs"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_PLUGINS_FILE: Final = Path(__file__).with_name("plugins.yml")
_LARGEST: Final = 1 << 20  # bytes of a file of jobs
SIDES: Final = ("a", "b")
_MOST: Final = 10_000_000  # iterations


@dataclass(frozen=True, slots=True)
class Side:
    """The material of one face."""

    subject: str
    sources: tuple[Media, ...]


@dataclass(frozen=True, slots=True)
class Extract:
    """How faces are found."""

    detector: str = FILE_PLUGIN
    aligner: str = FILE_PLUGIN
    every_nth: int = 1
    size: int = 512


@dataclass(frozen=True, slots=True)
class Train:
    """How the model is trained."""

    target_iterations: int
    model: str = "original"
    batch: int = 16
    save_every: int = 250
    gpus: tuple[int, ...] = (0,)
    memory_gib: int | None = None


@dataclass(frozen=True, slots=True)
class Convert:
    """What becomes of the model: which video gets the other face, and how."""

    source: Media
    mask: str = "extended"
    color: str = "avg-color"
    caption: bool = True
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights that the user brings: gpuprep fetches none."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job: two faces, a model, a video.

    Attributes:
        name: of letters, digits and hyphens; also the name of its unit's instance.
        host: inventory name of the host that it runs on, None where there is one host only.
        consent: what the persons agreed to.
        purpose: what the result is for.
        a: the face that is replaced.
        b: the face that it gets.
        extract: how faces are found.
        train: how the model is trained.
        convert: what is made with it.
        output: where the video comes to, on the controller.
        weights: files of weights.

    """

    name: str
    host: str | None
    consent: Consent
    purpose: str | None
    a: Side
    b: Side
    extract: Extract
    train: Train
    convert: Convert
    output: Path
    weights: tuple[Weights, ...] = ()


@dataclass(frozen=True, slots=True)
class C2pa:
    """Certificate chain and private key that outputs are signed with, on the controller."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Jobs:
    """All jobs of a file."""

    jobs: tuple[Job, ...]
    c2pa: C2pa | None = None

    def on(self, host: str, hosts: Sequence[str]) -> tuple[Job, ...]:
        """Return the jobs of a host.

        Args:
            host: inventory name.
            hosts: all hosts of the run.

        Raises:
            JobsError: a job names no host of the run, or none where there are several.

        """
        raise_for(_misplaced(self.jobs, hosts))
        return tuple(job for job in self.jobs if job.host in {None, host})


def _misplaced(jobs: Sequence[Job], hosts: Sequence[str]) -> Iterator[Problem]:
    shown = ", ".join(sorted(hosts)[:8])
    for job in jobs:
        if job.host is None and len(hosts) > 1:
            problem = f"host: name the host that it runs on, one of {shown}"
            yield told("E_FS_JOB", job=job.name, problem=problem)
        elif job.host is not None and job.host not in hosts:
            problem = f"host: {job.host} is no host of this run ({shown})"
            yield told("E_FS_JOB", job=job.name, problem=problem)


@cache
def plugins() -> Mapping[str, Any]:
    """Return what Faceswap can be asked for, by kind."""
    found: Mapping[str, Any] = yaml.safe_load(_PLUGINS_FILE.read_text(encoding="utf-8"))
    return found


def load(path: str | Path, today: dt.date | None = None) -> Jobs:
    """Read and check a file of jobs, with everything that it names.

    Raises:
        JobsError: something is wrong with it: all of that.
        ConfigError: it cannot be read.

    """
    path = Path(path).expanduser()
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path} is larger than 1 MiB")
        data = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"file of jobs {path} cannot be read: {why}") from None
    except ValueError as error:
        raise ConfigError(f"file of jobs {path} is no YAML: {error}") from None
    return read(data, path.absolute().parent, today or dt.datetime.now(tz=dt.UTC).date())


def read(data: Any, folder: Path, today: dt.date) -> Jobs:  # noqa: ANN401 - of any kind
    """Check what a file of jobs says; arguments as for ``load``, paths begin at ``folder``.

    Raises:
        JobsError: something is wrong with it: all of that.

    """
    problems: list[Problem] = []
    top = Reader(data, "", lambda text: problems.append(_wrong("the file", text)))
    top.only(TOP, "faceswap_c2pa")
    entries = top.items(TOP)
    found = [_job(entry, number, folder, today, problems) for number, entry in entries]
    if not problems and not found:
        problems.append(_wrong("the file", f"{TOP}: there is no job in it"))
    c2pa = _c2pa(top, folder)
    jobs = tuple(job for job in found if job is not None)
    problems += _twice(jobs)
    raise_for(problems)
    return Jobs(jobs, c2pa)


def _wrong(job: str, problem: str) -> Problem:
    return told("E_FS_JOB", job=job, problem=problem)


def _twice(jobs: Sequence[Job]) -> Iterator[Problem]:
    for kind, values in (
        ("name", [job.name for job in jobs]),
        ("output", [str(job.output) for job in jobs]),
    ):
        for number, value in enumerate(values):
            if value in values[:number]:
                yield _wrong(jobs[number].name, f"{kind}: another job has {value} too")


def _c2pa(top: Reader, folder: Path) -> C2pa | None:
    if "faceswap_c2pa" not in top.data:
        return None
    reader = top.part("faceswap_c2pa")
    reader.only("certificate", "key")
    paths = [folder / (reader.text(key) or "") for key in ("certificate", "key")]
    for path in paths:
        if not path.is_file():
            reader.wrong(f"{path} is not there")
    return C2pa(*paths)


def _job(
    entry: object, number: int, folder: Path, today: dt.date, problems: list[Problem]
) -> Job | None:
    name = entry.get("name") if isinstance(entry, dict) else None
    shown = name if isinstance(name, str) and _NAME.fullmatch(name) else f"number {number}"
    before = len(problems)
    reader = Reader(entry, "", lambda text: problems.append(_wrong(shown, text)))
    reader.only(
        *("name", "host", "consent", "purpose", "a", "b", "extract", "train", "convert", "output"),
        "weights",
    )
    if shown != name:
        reader.wrong("name: expected lower-case letters, digits and hyphens, 40 at most")
    media = _Sources(folder, shown, problems)
    sides = {side: _side(reader.part(side), media, side, shown, problems) for side in SIDES}
    extract = _extract(reader.part("extract", optional=True))
    train = _train(reader.part("train"))
    convert = _convert(reader.part("convert"), sides["a"], media)
    weights = _weights(reader, folder, problems, shown)
    output = reader.text("output")
    if output and Path(output).suffix.lower() != ".mp4":
        reader.wrong(f"output: {output}: expected the name of an .mp4 file")
    purpose = reader.text("purpose", optional=True)
    host = reader.text("host", optional=True)
    consent = _consent(reader, folder, shown, problems)
    problems += _needs_weights(shown, extract, convert, weights)
    problems += _needs_alignments(shown, extract, sides)
    if not any(problem.code == "E_FS_SOURCE" for problem in problems[before:]):
        problems += _needs_faces(shown, extract, sides, convert)
    if consent is not None:
        used = [
            (side.subject, one.path.name, one.sha256)
            for side in sides.values()
            for one in side.sources
        ]
        problems += consents.lacks(consent, shown, used, purpose, today)
    if len(problems) > before or consent is None or train is None or convert is None:
        return None
    return Job(
        name=shown,
        host=host,
        consent=consent,
        purpose=purpose,
        a=sides["a"],
        b=sides["b"],
        extract=extract,
        train=train,
        convert=convert,
        output=folder / (output or ""),
        weights=weights,
    )


class _Sources:
    """Looks at each source once; what cannot be used is told once."""

    def __init__(self, folder: Path, job: str, problems: list[Problem]) -> None:
        self._folder = folder
        self._job = job
        self._problems = problems
        self._seen: dict[Path, Media | None] = {}

    def __call__(self, name: str) -> Media | None:
        path = (self._folder / name).absolute()
        if path not in self._seen:
            self._seen[path] = self._look(path, name)
        return self._seen[path]

    def _look(self, path: Path, name: str) -> Media | None:
        try:
            return look(path)
        except MediaError as error:
            self._problems.append(told("E_FS_SOURCE", job=self._job, source=name, why=error))
            return None


def _side(reader: Reader, media: _Sources, side: str, job: str, problems: list[Problem]) -> Side:
    reader.only("subject", "sources")
    subject = reader.text("subject") or ""
    names = reader.texts("sources")
    found = tuple(one for one in (media(name) for name in names) if one is not None)
    digests = [one.sha256 for one in found]
    for number, one in enumerate(found):
        if one.sha256 in digests[:number]:
            why = f"is on side {side} twice"
            problems.append(told("E_FS_SOURCE", job=job, source=one.path.name, why=why))
    return Side(subject, found)


def _extract(reader: Reader) -> Extract:
    reader.only("detector", "aligner", "every_nth", "size")
    usual = Extract()
    return Extract(
        detector=reader.choice("detector", plugins()["detectors"], usual.detector),
        aligner=reader.choice("aligner", plugins()["aligners"], usual.aligner),
        every_nth=reader.number("every_nth", 1, 100, usual.every_nth),
        size=reader.number("size", 64, 1024, usual.size),
    )


def _train(reader: Reader) -> Train | None:
    reader.only("model", "batch", "target_iterations", "save_every", "gpus", "memory_gib")
    usual = Train(1)
    gpus = reader.numbers("gpus", 0, 15, usual.gpus)
    if len(set(gpus)) != len(gpus) or not gpus:
        reader.wrong("gpus: expected a list of different GPU numbers such as [0]")
    memory = reader.number("memory_gib", 1, 4096, 0)
    return Train(
        target_iterations=reader.number("target_iterations", 1, _MOST, None),
        model=reader.choice("model", plugins()["models"], usual.model),
        batch=reader.number("batch", 1, 256, usual.batch),
        save_every=reader.number("save_every", 1, _MOST, usual.save_every),
        gpus=gpus,
        memory_gib=memory or None,
    )


def _convert(reader: Reader, a: Side, media: _Sources) -> Convert | None:
    reader.only("source", "mask", "color", "caption", "processes")
    usual = Convert(source=Media(Path(), ""))
    name = reader.text("source")
    source = media(name) if name else None
    if source is not None and a.sources and source not in a.sources:
        reader.wrong("source: expected one of the sources of side a")
    if source is not None and source.files:
        reader.wrong("source: expected a video: a folder of pictures has no frame rate")
    mask = reader.choice("mask", plugins()["masks"], usual.mask)
    color = reader.choice("color", plugins()["colors"], usual.color)
    caption = reader.flag("caption", default=usual.caption)
    processes = reader.number("processes", 1, 64, usual.processes)
    if source is None:
        return None
    return Convert(source, mask, color, caption, processes)


def _weights(
    reader: Reader, folder: Path, problems: list[Problem], job: str
) -> tuple[Weights, ...]:
    found: list[Weights] = []
    for number, entry in reader.items("weights", optional=True):
        part = Reader(entry, f"weights {number}: ", reader.wrong)
        part.only("file", "sha256")
        name, sha256 = part.text("file"), part.text("sha256")
        if not name or not sha256:
            continue
        if not consents.is_sha256(sha256):
            part.wrong("sha256: expected 64 hex digits")
            continue
        path = folder / name
        try:
            actual = digest(path)
        except OSError as error:
            why = f"{path} cannot be read: {error.strerror}"
            problems.append(told("E_FS_WEIGHTS", job=job, problem=why))
            continue
        if actual != sha256:
            why = f"{path} has another digest ({actual})"
            problems.append(told("E_FS_WEIGHTS", job=job, problem=why))
        found.append(Weights(path, sha256))
    return tuple(found)


def _needs_weights(
    job: str, extract: Extract, convert: Convert | None, weights: Sequence[Weights]
) -> Iterator[Problem]:
    chosen = [("detectors", extract.detector), ("aligners", extract.aligner)]
    if convert is not None:
        chosen.append(("masks", convert.mask))
    for kind, plugin in chosen:
        for needed in plugins()[kind].get(plugin, ()):
            pattern = needed["file"]
            if not any(fnmatch.fnmatchcase(one.path.name, pattern) for one in weights):
                problem = (
                    f"{kind[:-1]} {plugin} needs {pattern}"
                    f" (release {needed['release']} of faceswap-models)"
                )
                yield told("E_FS_WEIGHTS", job=job, problem=problem)


def _needs_alignments(job: str, extract: Extract, sides: Mapping[str, Side]) -> Iterator[Problem]:
    if FILE_PLUGIN not in {extract.detector, extract.aligner}:
        return
    for side in sides.values():
        for one in side.sources:
            if one.alignments is None:
                beside = (
                    "alignments.json in it" if one.files else f"{one.path.stem}_alignments.json"
                )
                why = f"has no landmarks for the plugin `file`: {beside} is not there"
                yield told("E_FS_SOURCE", job=job, source=one.path.name, why=why)


def _needs_faces(
    job: str, extract: Extract, sides: Mapping[str, Side], convert: Convert | None
) -> Iterator[Problem]:
    """Yield sides with fewer frames than Faceswap trains with; a frame is taken for one face."""
    for name, side in sides.items():
        counts = [
            one.frames and -(-one.frames // _every_nth(extract, convert, name, one))
            for one in side.sources
        ]
        known = [count for count in counts if count is not None]
        if known and len(known) == len(counts) and sum(known) < FEWEST_FACES:
            values = {"job": job, "side": name, "found": sum(known), "need": FEWEST_FACES}
            yield told("E_FS_FACES", **values)


def _every_nth(extract: Extract, convert: Convert | None, side: str, source: Media) -> int:
    converted = convert is not None and side == "a" and source == convert.source
    nth: int = every_nth(asdict(extract), converted=converted)
    return nth


def _consent(reader: Reader, folder: Path, job: str, problems: list[Problem]) -> Consent | None:
    given = reader.data.get("consent")
    if given is None:
        missing = "consent: name a manifest, or {synthetic: true} for drawn material"
        problems.append(told("E_FS_CONSENT", job=job, missing=missing))
        return None
    if isinstance(given, dict):
        made = consents.read(given, "consent", folder, None)
        if not isinstance(made, list) and not made.synthetic:
            made = ["consent: name a file; only {synthetic: true} stands here"]
    elif isinstance(given, str):
        path = folder / given
        try:
            text = path.read_text(encoding="utf-8")
            made = consents.read(load_yaml(text), given, path.parent, digest(path))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            made = [f"{given} cannot be read: {why}"]
    else:
        made = ["consent: expected the name of a manifest"]
    if isinstance(made, list):
        problems += [told("E_FS_CONSENT", job=job, missing=missing) for missing in made]
        return None
    return made
