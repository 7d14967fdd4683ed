"""The look into kernels' headers: on trees as distributions lay them out, and its answer."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import bare, observed
from pythons import interpreter

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.model import KernelHeaders, Settings
from gpuprep.on_host import loader
from gpuprep.on_host.observe import headers
from gpuprep.planner.plan import observation_request

if TYPE_CHECKING:
    from pathlib import Path

CHANGES = observation_request(load(), Settings())["changes"]
RELEASE = "6.8.0-1068-oracle"

# The declarations that each look is about, in the form before and after the change.
FORMS: dict[str, tuple[str, str]] = {
    "pfn_valid_rcu": ("rcu_read_lock_sched();", "rcu_read_lock();"),
    "follow_pfn": ("int follow_pfn(struct vm_area_struct *vma, ulong a);", "int follow_pte(x);"),
    "output_poll_changed": ("void (*output_poll_changed)(struct drm_device *dev);", ""),
    "import_ns_string": (
        "#define MODULE_IMPORT_NS(ns)\tMODULE_INFO(import_ns, __stringify(ns))",
        "#define MODULE_IMPORT_NS(ns)\tMODULE_INFO(import_ns, ns)",
    ),
    "drm_driver_date": ("\tchar *name;\n\tchar *desc;\n\tchar *date;", "\tchar *name;"),
    "mode_valid_const": (
        "(*mode_valid)(struct drm_connector *connector,\n\t\tstruct drm_display_mode *mode);",
        "(*mode_valid)(struct drm_connector *connector,\n\t\tconst struct drm_display_mode *m);",
    ),
    "del_timer_sync": (
        "static inline int del_timer_sync(struct timer_list *timer)",
        "extern int try_to_del_timer_sync(struct timer_list *timer);",
    ),
    "iommu_dev_enable_feature": (
        "int iommu_dev_enable_feature(struct device *dev, enum iommu_dev_features f);",
        " * Device drivers enabled a feature by iommu_dev_enable_feature().",
    ),
    "fb_create_format_info": (
        "(*fb_create)(struct drm_device *, struct drm_file *f,\n const struct drm_mode_fb_cmd2 *);",
        "(*fb_create)(struct drm_device *, struct drm_file *f,\n const struct drm_format_info *);",
    ),
    "get_dev_pagemap": (
        "get_dev_pagemap(unsigned long pfn,\n\t\tstruct dev_pagemap *pgmap);",
        "get_dev_pagemap(unsigned long pfn);",
    ),
    "pci_resize_resource": (
        "int pci_resize_resource(struct pci_dev *dev, int i, int size);",
        "int pci_resize_resource(struct pci_dev *dev, int i, int size,\n\t\tint exclude_bars);",
    ),
    "folio_free": ("void (*page_free)(struct page *page);", "void (*folio_free)(struct folio *f);"),
    "dma_map_phys": ("dma_addr_t (*map_page)(struct device *d,", "dma_addr_t (*map_phys)(struct d"),
    "vma_write_locked": (
        "bool __is_vma_write_locked(struct vm_area_struct *vma, unsigned int *mm_lock_seq)",
        "bool __is_vma_write_locked(struct vm_area_struct *vma)",
    ),
    "of_gpio": ("#include <linux/gpio/driver.h>", ""),
    "strncpy": (
        "extern char * strncpy(char *,const char *, __kernel_size_t);",
        " * Preferred to strncpy() since it always returns a valid string",
    ),
    "drm_atomic_commit": ("struct drm_atomic_state {", "struct drm_atomic_commit {"),
}
OLD, NEW = 0, 1


def kernel_tree(base: Path, form: int, tree: str = "build", release: str = RELEASE) -> Path:
    """Make the headers of a kernel in which every change is in one form; return their folder."""
    folder = base / release / tree
    for name, change in CHANGES.items():
        path = folder / change["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}{FORMS[name][form]}\n")
    (folder / headers.WITNESS).write_text((folder / headers.WITNESS).read_text() + "struct module;")
    version = folder / headers.NUMBER
    version.parent.mkdir(parents=True)
    version.write_text("#define LINUX_VERSION_CODE 395276\n#define LINUX_VERSION_MAJOR 6\n")
    return folder


def look(base: Path, release: str = RELEASE) -> dict[str, Any] | None:
    found: dict[str, Any] | None = headers.look(release, CHANGES, f"{base}/")
    return found


def test_every_look_of_the_catalog_has_an_example() -> None:
    assert set(FORMS) == set(CHANGES)


@pytest.mark.parametrize("form", [OLD, NEW])
def test_old_and_new_forms_are_told_apart(tmp_path: Path, form: int) -> None:
    kernel_tree(tmp_path, form)
    found = look(tmp_path)
    assert found == {"version": "6.8.12", "changes": dict.fromkeys(CHANGES, form == NEW)}


def test_a_tree_in_two_parts_is_one(tmp_path: Path) -> None:
    """As Debian has it: what all configurations share stands in another folder."""
    common = kernel_tree(tmp_path, NEW, "source")
    number = tmp_path / RELEASE / "build" / headers.NUMBER
    number.parent.mkdir(parents=True)
    (common / headers.NUMBER).rename(number)
    found = look(tmp_path)
    assert found == {"version": "6.8.12", "changes": dict.fromkeys(CHANGES, True)}


def test_headers_that_are_not_there_are_told_from_changed_ones(tmp_path: Path) -> None:
    assert look(tmp_path) is None
    folder = tmp_path / RELEASE / "build"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "gone")  # what is left when a package is removed
    assert look(tmp_path) is None
    folder.unlink()
    (folder / "include/config").mkdir(parents=True)  # only the part of one configuration
    assert look(tmp_path) is None


def test_a_header_with_neither_form_tells_nothing(tmp_path: Path) -> None:
    folder = kernel_tree(tmp_path, OLD)
    (folder / "include/linux/pci.h").write_text("struct pci_dev;\n")
    found = look(tmp_path)
    assert found is not None
    assert "pci_resize_resource" not in found["changes"]
    assert found["changes"]["follow_pfn"] is False


def test_a_kernel_on_its_way_has_both_forms_and_takes_the_old_one(tmp_path: Path) -> None:
    folder = kernel_tree(tmp_path, OLD)
    path = folder / "include/linux/dma-map-ops.h"
    path.write_text("\n".join(FORMS["dma_map_phys"]))
    found = look(tmp_path)
    assert found is not None
    assert found["changes"]["dma_map_phys"] is False


def test_odd_files_are_survived(tmp_path: Path) -> None:
    folder = kernel_tree(tmp_path, OLD)
    gpio, timer = folder / "include/linux/of_gpio.h", folder / "include/linux/timer.h"
    gpio.unlink()
    gpio.mkdir()
    timer.write_bytes(b"\xff\xfe\x00" * 400_000 + FORMS["del_timer_sync"][OLD].encode())
    (folder / "include/linux/mm.h").write_bytes(b"")
    (folder / headers.NUMBER).write_text("#define LINUX_VERSION_CODE many\n")
    found = look(tmp_path)
    assert found is not None
    assert found["version"] is None
    assert not {"of_gpio", "del_timer_sync", "follow_pfn"} & set(found["changes"])
    assert found["changes"]["pci_resize_resource"] is False


def with_trees_in(folder: Path, program: str) -> str:
    """Return a program for a host that looks for the trees of kernels in a folder of ours."""

    def moved(found: re.Match[str]) -> str:
        texts = loader.unpacked(found[1])
        assert any("/lib/modules/" in text for text in texts.values())
        ours = {n: t.replace("/lib/modules/", f"{folder}/") for n, t in texts.items()}
        return f"unpacked({loader.packed(ours)!r})"

    changed, count = re.subn(r"unpacked\('(\S+)'\)", moved, program)
    assert count == 1
    return changed


@pytest.mark.parametrize("minor", [6, 13])
def test_a_host_answers_with_it(tmp_path: Path, minor: int) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    request = {"changes": CHANGES, "kernel": RELEASE}
    kernel_tree(tmp_path, NEW)
    program = with_trees_in(tmp_path, observe.script(request))
    command = [python, *observe.INTERPRETER_FLAGS.split()]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = observe.read(done.stdout).kernel.shown
    assert set(shown) == {RELEASE}  # the running kernel has no headers below that folder
    assert shown[RELEASE] == KernelHeaders("6.8.12", dict.fromkeys(CHANGES, True))


def test_the_request_is_plain_data() -> None:
    assert json.loads(json.dumps(CHANGES)) == CHANGES


# --- what becomes of the answer -------------------------------------------------------------------
def kernels_of(**kernel: Any) -> Any:
    return observe.facts(observed(bare(kernel={**bare()["kernel"], **kernel})))


def test_the_resolver_is_told_of_the_target_and_of_the_kernel_that_waits() -> None:
    shown = {
        name: {"version": version, "changes": {"follow_pfn": has}}
        for name, version, has in (("6.1", "6.1.192", False), ("6.12", "6.12.118", True))
    }
    facts = kernels_of(running="6.1", target="6.1", next_boot="6.12", shown=shown)
    assert facts.kernel_headers == KernelHeaders("6.1.192", {"follow_pfn": False})
    assert facts.state.newest_headers == KernelHeaders("6.12.118", {"follow_pfn": True})
    facts = kernels_of(running="6.1", target="6.12", next_boot="6.12", shown=shown)
    assert facts.kernel_headers == KernelHeaders("6.12.118", {"follow_pfn": True})
    assert facts.state.newest_headers is None
    facts = kernels_of(running="6.1", target="6.1", next_boot="6.1", shown={})
    assert (facts.kernel_headers, facts.state.newest_headers) == (None, None)


@pytest.mark.parametrize(
    "shown",
    [{"6.1": {"changes": {"follow_pfn": "yes"}}}, {"6.1": []}, [], {"6.1": {"version": 6}}],
)
def test_nonsense_is_that_hosts_failure(shown: object) -> None:
    with pytest.raises(observe.ObservationError, match="shown"):
        kernels_of(shown=shown)
