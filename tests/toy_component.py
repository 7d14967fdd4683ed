"""A fifth component, as somebody would add it: one object, one role, nothing else touched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
OBJECT = '''"""A toy: a file with a version in it."""

from __future__ import annotations

from dataclasses import replace

from gpuprep.components.base import Component, Written
from gpuprep.components.differences import diff_files
from gpuprep.components.state import RoleState
from gpuprep.model import ManagedFile, Package

PATH = "/etc/gpuprep-toy"


def resolve(case, stack):
    case.because("toy", "1.2", "there is only one")
    extra = Package("toy-package", "toy", "1.2-1", origin="distro")
    packages = (*stack.packages, extra)
    return replace(stack, versions={**stack.versions, "toy": "1.2"}, packages=packages)


def plan(differences, situation):
    greeting = situation.settings.values["toy_greeting"]
    files = (ManagedFile(PATH, "toy", f"{greeting} {desired(situation.stack)}\\n"),)
    diff_files(differences, situation.observation, files)
    return RoleState(differences.role, files=files)


def current(observation):
    return "1.2" if observation.files.get(PATH) else None


def desired(stack):
    return stack.versions.get("toy", "-")


COMPONENT = Component(
    name="toy",
    title="Toy",
    role="toy",
    wanted=lambda values: values["toy_greeting"] != "none",
    resolve=resolve,
    plan=plan,
    current=current,
    desired=desired,
    locks=lambda stack: {"toy": desired(stack)},
    paths=lambda settings: (PATH,),
    uses_packages=False,
    checks=("pci.device",),
    writes=(Written("the greeting", PATH),),
    exports={"toy_installed_version": "version on the host"},
)
'''
TASKS = """---
- name: Plan the toy of this host
  gpuprep.core.role_plan:
    role: toy
  register: __toy_plan

- name: Install | Ensure the greeting is in place
  gpuprep.core.converge:
    role: toy
    stage: files

- name: Verify | Observe the host again
  gpuprep.core.role_plan:
    role: toy
    closing: true
  register: __toy_result
"""
SPECIFICATION = """---
argument_specs:
  main:
    short_description: A toy
    options:
      toy_greeting:
        type: str
        default: hello
        description: What the file says. C(none) wants no toy.
"""
README = """# toy

<!-- begin of what `make docs` writes -->
<!-- end of what `make docs` writes -->
"""


def tree_with_toy(folder: Path) -> Path:
    """Copy the repository and add the component: two new things, no file changed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    new = {
        "gpuprep/components/toy.py": OBJECT,
        "roles/toy/tasks/main.yml": TASKS,
        "roles/toy/defaults/main.yml": "---\ntoy_greeting: hello\n",
        "roles/toy/meta/argument_specs.yml": SPECIFICATION,
        "roles/toy/meta/main.yml": "---\ndependencies: []\n",
        "roles/toy/README.md": README,
    }
    for name, text in new.items():
        path = folder / name
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
