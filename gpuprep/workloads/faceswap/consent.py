"""Consent: who agreed to what, until when, for which files.

Presence, digests and dates are checked. Whether a statement is true, no program can tell.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuprep.workloads.faceswap.media import digest
from gpuprep.workloads.faceswap.problems import Problem, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SYNTHETIC: Final = "synthetic"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SUBJECT_KEYS: Final = frozenset(
    {"subject", "statement", "signer", "date", "expires", "purpose", "sources"}
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One person's consent.

    Attributes:
        id: as the jobs name the person.
        statement: file that was signed.
        statement_sha256: its digest, as the manifest says.
        signer: who signed.
        date: when.
        expires: last day on which it holds.
        purposes: what it holds for.
        sources: SHA-256 of each file that it holds for.

    """

    id: str
    statement: Path
    statement_sha256: str
    signer: str
    date: dt.date
    expires: dt.date
    purposes: tuple[str, ...]
    sources: frozenset[str]


@dataclass(frozen=True, slots=True)
class Consent:
    """What the persons in a job agreed to; or that it shows none.

    Attributes:
        synthetic: the material is drawn or computed and shows nobody.
        subjects: consent by subject.
        sha256: digest of the manifest, None for material that shows nobody.

    """

    synthetic: bool
    subjects: Mapping[str, Subject]
    sha256: str | None = None


def read(data: Any, name: str, folder: Path, sha256: str | None) -> Consent | list[str]:  # noqa: ANN401
    """Return what a manifest says, or what is wrong with it.

    Args:
        data: its content, as YAML gave it.
        name: of the file, for messages.
        folder: where its paths begin.
        sha256: its digest.

    """
    if not isinstance(data, dict):
        return [f"{name} is no mapping"]
    if SYNTHETIC in data:
        if data == {SYNTHETIC: True}:
            return Consent(synthetic=True, subjects={})
        return [f"{name}: `synthetic: true` stands alone, or not at all"]
    unknown = sorted(map(str, data.keys() - {"subjects"}))
    if unknown or not isinstance(data.get("subjects"), list) or not data["subjects"]:
        extra = f" (unknown: {', '.join(unknown)})" if unknown else ""
        return [f"{name}: expected a list `subjects`{extra}"]
    subjects: dict[str, Subject] = {}
    wrong: list[str] = []
    for number, entry in enumerate(data["subjects"], 1):
        made = _subject(entry, f"{name}: subject {number}", folder)
        if isinstance(made, Subject):
            if made.id in subjects:
                wrong.append(f"{name}: subject {made.id} stands twice")
            subjects[made.id] = made
        else:
            wrong += made
    return wrong or Consent(synthetic=False, subjects=subjects, sha256=sha256)


def _subject(entry: Any, where: str, folder: Path) -> Subject | list[str]:  # noqa: ANN401
    if not isinstance(entry, dict):
        return [f"{where} is no mapping"]
    where = f"{where} ({entry['subject']})" if isinstance(entry.get("subject"), str) else where
    missing = sorted(_SUBJECT_KEYS - entry.keys())
    unknown = sorted(map(str, entry.keys() - _SUBJECT_KEYS))
    wrong = [f"{where}: {key} is missing" for key in missing]
    wrong += [f"{where}: {key} is unknown" for key in unknown]
    if wrong:
        return wrong
    wrong += [
        f"{where}: {key}: expected a text"
        for key in ("subject", "signer")
        if not isinstance(entry[key], str) or not entry[key].strip()
    ]
    dates = {}
    for key in ("date", "expires"):
        dates[key] = as_date(entry[key])
        if dates[key] is None:
            wrong.append(f"{where}: {key}: expected a date such as 2027-01-31")
    statement = entry["statement"]
    if not _is_file(statement):
        wrong.append(f"{where}: statement: expected {{file: PATH, sha256: 64 hex digits}}")
    purposes = entry["purpose"] if isinstance(entry["purpose"], list) else [entry["purpose"]]
    if not purposes or not all(isinstance(one, str) and one.strip() for one in purposes):
        wrong.append(f"{where}: purpose: expected a text, or a list of texts")
    sources = entry["sources"]
    if not isinstance(sources, list) or not all(is_sha256(one) for one in sources):
        wrong.append(f"{where}: sources: expected a list of SHA-256 digests, 64 hex digits each")
    if wrong:
        return wrong
    return Subject(
        id=entry["subject"],
        statement=folder / statement["file"],
        statement_sha256=statement["sha256"],
        signer=entry["signer"],
        date=dates["date"] or dt.date.max,
        expires=dates["expires"] or dt.date.min,
        purposes=tuple(purposes),
        sources=frozenset(sources),
    )


def is_sha256(value: object) -> bool:
    """Return whether a value is a SHA-256 digest in lower-case hex."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_file(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"file", "sha256"}
        and isinstance(value["file"], str)
        and is_sha256(value["sha256"])
    )


def as_date(value: object) -> dt.date | None:
    """Return a date; YAML gives dates, times and texts."""
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def lacks(
    consent: Consent,
    job: str,
    used: Iterable[tuple[str, str, str]],
    purpose: str | None,
    today: dt.date,
) -> Iterator[Problem]:
    """Yield what a job does that nobody agreed to.

    Args:
        consent: what the persons agreed to.
        job: name of the job.
        used: subject, name of the source and its digest, of all that the job reads.
        purpose: what the job is for.
        today: on which it would run.

    """
    if consent.synthetic:
        return
    seen: set[str] = set()
    if not purpose:
        yield told("E_FS_CONSENT", job=job, missing="purpose: say what the result is for")
    for subject, source, sha256 in used:
        agreed = consent.subjects.get(subject)
        if agreed is None:
            if subject not in seen:
                yield told("E_FS_CONSENT", job=job, missing=f"no consent of subject {subject}")
            seen.add(subject)
            continue
        if subject not in seen:
            seen.add(subject)
            for missing in _of_subject(agreed, purpose, today):
                yield told("E_FS_CONSENT", job=job, missing=missing)
        if sha256 not in agreed.sources:
            missing = f"consent of {subject} does not name {source} (sha256 {sha256})"
            yield told("E_FS_CONSENT", job=job, missing=missing)


def _of_subject(agreed: Subject, purpose: str | None, today: dt.date) -> Iterator[str]:
    if agreed.date > today:
        yield f"consent of {agreed.id} is dated {agreed.date}, which is to come"
    if agreed.expires < today:
        yield f"consent of {agreed.id} expired on {agreed.expires}"
    if purpose and purpose not in agreed.purposes:
        given = ", ".join(repr(one) for one in agreed.purposes)
        yield f"consent of {agreed.id} is for {given}, the job for {purpose!r}"
    try:
        found = digest(agreed.statement)
    except OSError as error:
        yield f"statement of {agreed.id}, {agreed.statement}, cannot be read: {error.strerror}"
        return
    if found != agreed.statement_sha256:
        yield f"statement of {agreed.id}, {agreed.statement}, has another digest ({found})"
