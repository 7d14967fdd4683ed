"""What a kernel's headers declare, as far as drivers are concerned by what changed there.

Each declaration is in the form that it has in the kernel: as in the mainline release that it is
based on, unless Canonical took a later change back. Nothing compiles against these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sandbox.ubuntu.systems import Kernel

_RESIZE: Final = "int pci_resize_resource(struct pci_dev *dev, int i, int size"
_TAKEN_BACK: Final = {("6.8.0", "oracle"): 1064, ("5.15.0", "oracle"): 1114}
"""First ABI with the fourth argument of pci_resize_resource(), by version and flavour."""


@dataclass(frozen=True, slots=True)
class _Declaration:
    """A line of a header before and after a mainline release; empty = it is not there."""

    path: str
    changed: tuple[int, int]
    old: str
    new: str = ""


_ALWAYS: Final = (99, 0)
_DECLARATIONS: Final = (
    _Declaration("linux/module.h", _ALWAYS, "struct module;"),
    _Declaration("linux/mmzone.h", _ALWAYS, "\trcu_read_lock_sched();"),
    _Declaration(
        *("linux/mm.h", (6, 10), "int follow_pfn(struct vm_area_struct *vma, unsigned long a,"),
        "int follow_pte(struct vm_area_struct *vma, unsigned long address,",
    ),
    _Declaration(
        *("drm/drm_mode_config.h", (6, 12)),
        "\tvoid (*output_poll_changed)(struct drm_device *dev);",
    ),
    _Declaration(
        *("drm/drm_mode_config.h", (6, 17)),
        "\t\tstruct drm_file *file_priv,\n\t\tconst struct drm_mode_fb_cmd2 *mode_cmd);",
        "\t\tstruct drm_file *file_priv,\n\t\tconst struct drm_format_info *info,",
    ),
    _Declaration(
        *("linux/module.h", (6, 13)),
        "#define MODULE_IMPORT_NS(ns)\tMODULE_INFO(import_ns, __stringify(ns))",
        "#define MODULE_IMPORT_NS(ns)\tMODULE_INFO(import_ns, ns)",
    ),
    _Declaration("drm/drm_drv.h", (6, 14), "\tchar *date;", "\tchar *desc;"),
    _Declaration(
        *("drm/drm_modeset_helper_vtables.h", (6, 15)),
        "(*mode_valid)(struct drm_connector *connector,\n\t\tstruct drm_display_mode *mode);",
        "(*mode_valid)(struct drm_connector *connector,\n\t\tconst struct drm_display_mode *mode);",
    ),
    _Declaration(
        *("linux/timer.h", (6, 15), "static inline int del_timer_sync(struct timer_list *t)"),
        "extern int timer_delete_sync(struct timer_list *timer);",
    ),
    _Declaration(
        *("linux/iommu.h", (6, 16)),
        "int iommu_dev_enable_feature(struct device *dev, enum iommu_dev_features f);",
        "struct iommu_domain;",
    ),
    _Declaration(
        *("linux/memremap.h", (6, 18)),
        "struct dev_pagemap *get_dev_pagemap(unsigned long pfn,\n\t\tstruct dev_pagemap *pgmap);",
        "struct dev_pagemap *get_dev_pagemap(unsigned long pfn);",
    ),
    _Declaration(
        *("linux/memremap.h", (6, 19), "\tvoid (*page_free)(struct page *page);"),
        "\tvoid (*folio_free)(struct folio *folio);",
    ),
    _Declaration(
        *("linux/dma-map-ops.h", (6, 19), "\tdma_addr_t (*map_page)(struct device *dev,"),
        "\tdma_addr_t (*map_phys)(struct device *dev,",
    ),
    _Declaration("linux/pci.h", (6, 19), f"{_RESIZE});", f"{_RESIZE},\n\t\tint exclude_bars);"),
    _Declaration(
        *("linux/mmap_lock.h", (7, 0)),
        "bool __is_vma_write_locked(struct vm_area_struct *vma, unsigned int *seq)",
        "bool __is_vma_write_locked(struct vm_area_struct *vma)",
    ),
    _Declaration("linux/of_gpio.h", (7, 1), "#include <linux/gpio/driver.h>"),
    _Declaration(
        *("linux/string.h", (7, 2), "extern char * strncpy(char *, const char *, __kernel_size_t);")
    ),
    _Declaration(
        *("drm/drm_atomic.h", (7, 2), "struct drm_atomic_state {", "struct drm_atomic_commit {")
    ),
)


def common(kernel: Kernel) -> dict[str, str]:
    """Return the headers that all flavours of a kernel share: text by path below ``include``."""
    based_on = _mainline(kernel)
    taken_back = _TAKEN_BACK.get((kernel.base, kernel.flavour))
    found: dict[str, str] = {}
    for one in _DECLARATIONS:
        changed = based_on >= one.changed
        if one.path == "linux/pci.h" and taken_back is not None:
            changed = kernel.abi >= taken_back
        if one.path == "linux/mmap_lock.h" and based_on < (6, 16):
            continue  # declared elsewhere then
        line = one.new if changed else one.old
        if line:
            found[one.path] = f"{found.get(one.path, '')}{line}\n"
    return found


def number(kernel: Kernel) -> str:
    """Return the generated header that tells the version."""
    major, minor, patch = (int(part) for part in kernel.base.split("."))
    code = major << 16 | minor << 8 | patch
    return f"#define LINUX_VERSION_CODE {code}\n#define LINUX_VERSION_MAJOR {major}\n"


def _mainline(kernel: Kernel) -> tuple[int, int]:
    major, minor, _ = kernel.base.split(".")
    return int(major), int(minor)
