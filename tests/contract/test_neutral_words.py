"""Package managers are named in their own files only: a new family must change no other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from repository import ROOT, tracked

if TYPE_CHECKING:
    from pathlib import Path

WORDS = re.compile(
    r"(?<![\w-])(apt|apt-get|apt-mark|apt-cache|aptitude|dpkg|dpkg-query|debian|ubuntu|dnf|yum|rpm"
    r"|(?-i:versionlock)|update-initramfs|dracut|dkms|update-alternatives)(?![\w-])",
    re.IGNORECASE,
)
NEUTRAL = tracked(
    "roles/*/tasks/*.yml",
    "roles/*/handlers/*.yml",
    "roles/*/vars/*.yml",
    "roles/*/defaults/*.yml",
    "playbooks/*.yml",
    "plugins/action/*.py",
    "plugins/lookup/*.py",
    "plugins/plugin_utils/*.py",
    "plugins/modules/*.py",
    "gpuprep/on_host/loader.py",
    "gpuprep/on_host/openpgp.py",
    "gpuprep/on_host/converge/*.py",
    "gpuprep/on_host/observe/*.py",
    "gpuprep/observe/*.py",
    "gpuprep/components/*.py",
    "gpuprep/planner/*.py",
    "gpuprep/packages/family.py",
)
FAMILIES = re.compile(r"(deb|rpm)(_[a-z]+)?[.]py")
TABLE = ROOT / "gpuprep/on_host/observe/family.py"  # where they are listed by name


def named(text: str) -> list[str]:
    return [match.group().lower() for match in WORDS.finditer(text)]


def test_the_words_are_found() -> None:
    assert named("argv: [update-initramfs, -u]; ansible.builtin.apt: x") == [
        "update-initramfs",
        "apt",
    ]
    assert named("adapt the captain's rpmalike") == []


@pytest.mark.parametrize(
    "path",
    [p for p in NEUTRAL if not FAMILIES.fullmatch(p.name) and p != TABLE],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_a_neutral_file_names_no_package_manager(path: Path) -> None:
    assert named(path.read_text(encoding="utf-8")) == []


def test_their_own_files_do() -> None:
    assert named((ROOT / "gpuprep/on_host/converge/deb.py").read_text(encoding="utf-8"))
