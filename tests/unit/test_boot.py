"""Which kernel the next boot starts: what boot loaders keep, read from trees of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuprep.on_host.observe import boot, kernel

if TYPE_CHECKING:
    from pathlib import Path

UEK = "6.12.0-100.28.2.2.el9uek.x86_64"
RHCK = "5.14.0-570.12.1.0.1.el9_6.x86_64"
OLD_UEK = "6.12.0-99.1.el9uek.x86_64"
ORACLE, GENERIC = "6.8.0-1035-oracle", "6.14.0-29-generic"
MACHINE = "5d2c1a340000400080000000000000ff"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("FOLDER", "ENTRIES", "MENU", "GRUBBY"):
        monkeypatch.setattr(boot, name, f"{tmp_path}{getattr(boot, name)}")
    monkeypatch.setattr(boot, "BLOCKS", tuple(f"{tmp_path}{path}" for path in boot.BLOCKS))
    for folder in ("boot/loader/entries", "boot/grub", "boot/grub2", "usr/sbin"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def images(root: Path, *releases: str) -> None:
    for release in releases:
        (root / "boot" / f"vmlinuz-{release}").touch()


def entries(root: Path, *releases: str, saved: str | None = None) -> None:
    images(root, *releases)
    for release in releases:
        text = f"title Oracle Linux\nversion {release}\nlinux /vmlinuz-{release}\n"
        (root / f"boot/loader/entries/{MACHINE}-{release}.conf").write_text(text)
    if saved is not None:
        block = f"# GRUB Environment Block\nsaved_entry={saved}\nkernelopts=root=/dev/sda\n#####"
        (root / "boot/grub2/grubenv").write_text(block)


def starts(running: str) -> str | None:
    found: str | None = boot.next_boot(running, boot.installed())
    return found


def test_a_kernel_that_is_booted_by_choice_needs_no_reboot(root: Path) -> None:
    """RHCK beside a newer UEK: compared with the newest file, this host was refused for ever."""
    entries(root, RHCK, UEK, saved=f"{MACHINE}-{RHCK}")
    assert boot.installed() == [RHCK, UEK]
    assert starts(RHCK) == RHCK


def test_a_change_between_them_is_seen_before_the_reboot(root: Path) -> None:
    entries(root, RHCK, UEK, saved=f"{MACHINE}-{UEK}")
    assert starts(RHCK) == UEK


@pytest.mark.parametrize("saved", [None, "", "0", f"{MACHINE}-gone"])
def test_without_a_saved_entry_the_newest_boots(root: Path, saved: str | None) -> None:
    entries(root, OLD_UEK, UEK, RHCK, saved=saved)
    entries(root, f"0-rescue-{MACHINE}")
    assert starts(RHCK) == UEK


def test_grubby_is_asked_first(root: Path) -> None:
    entries(root, RHCK, UEK, saved=f"{MACHINE}-{UEK}")
    grubby = root / "usr/sbin/grubby"
    grubby.write_text(f'#!/bin/sh\n[ "$1" = --default-kernel ] && echo /boot/vmlinuz-{RHCK}\n')
    grubby.chmod(0o755)
    assert starts(UEK) == RHCK
    grubby.write_text("#!/bin/sh\necho /boot/vmlinuz-gone\n")  # what it names must be there
    assert starts(RHCK) == UEK


MENU = """\
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set boot_once=true
else
   set default="{default}"
fi
function gfxmode {{
\tset gfxpayload="${{1}}"
}}
menuentry 'Ubuntu' --class ubuntu $menuentry_id_option 'gnulinux-simple-x' {{
\tif [ x$grub_platform = xxen ]; then insmod xzio; fi
\tlinux\t/boot/vmlinuz-6.14.0-29-generic root=/dev/sda1 ro
\tinitrd\t/boot/initrd.img-6.14.0-29-generic
}}
submenu 'Advanced options for Ubuntu' $menuentry_id_option 'gnulinux-advanced-x' {{
\tmenuentry 'Ubuntu, with Linux 6.14.0-29-generic' $menuentry_id_option 'id-generic' {{
\t\tlinux\t/boot/vmlinuz-6.14.0-29-generic root=/dev/sda1 ro
\t}}
\tmenuentry 'Ubuntu, with Linux 6.8.0-1035-oracle' $menuentry_id_option 'id-oracle' {{
\t\tlinux\t/vmlinuz-6.8.0-1035-oracle root=/dev/sda1 ro
\t}}
}}
menuentry 'UEFI Firmware Settings' {{
\tfwsetup
}}
"""


@pytest.mark.parametrize(
    ("default", "saved", "expected"),
    [
        ("0", None, GENERIC),
        ("1", None, GENERIC),  # a submenu starts its first entry
        ("1>1", None, ORACLE),
        ("gnulinux-advanced-x>id-oracle", None, ORACLE),
        ("Advanced options for Ubuntu>Ubuntu, with Linux 6.8.0-1035-oracle", None, ORACLE),
        ("${saved_entry}", None, GENERIC),
        ("${saved_entry}", "gnulinux-advanced-x>id-oracle", ORACLE),
        # What names no kernel of the menu: the newest of the running flavour.
        ("2", None, ORACLE),
        ("7", None, ORACLE),
        ("no such title", None, ORACLE),
    ],
)
def test_grubs_menu(root: Path, default: str, saved: str | None, expected: str) -> None:
    images(root, ORACLE, GENERIC)
    (root / "boot/grub/grub.cfg").write_text(MENU.format(default=default))
    if saved:
        (root / "boot/grub/grubenv").write_text(f"saved_entry={saved}\n")
    assert starts(ORACLE) == expected


@pytest.mark.parametrize(
    ("running", "installed", "expected"),
    [
        (ORACLE, (ORACLE, "6.8.0-1036-oracle", GENERIC), "6.8.0-1036-oracle"),
        ("6.1.0-41-amd64", ("6.1.0-41-amd64", "6.1.0-9-cloud-amd64"), "6.1.0-41-amd64"),
        (RHCK, (RHCK, "5.14.0-611.el9_7.x86_64", UEK), "5.14.0-611.el9_7.x86_64"),
        ("6.18.44-host", (ORACLE, GENERIC), GENERIC),  # a container: of all
        (ORACLE, (), None),
    ],
)
def test_without_a_boot_loader_the_running_flavour_stays(
    root: Path, running: str, installed: tuple[str, ...], expected: str | None
) -> None:
    images(root, *installed)
    assert starts(running) == expected


def test_modules_in_packages_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / UEK
    folder.mkdir()
    (folder / "modules.packages").write_text(
        "video kernel-uek-modules\n"
        "kernel-uek-modules-core: kernel/drivers/infiniband/ib-umad.ko.xz\n"
    )
    names = ["video", "ib_umad", "drm"]
    found = kernel.packaged_modules(names, UEK, base=f"{tmp_path}/")
    assert found == {"video": "kernel-uek-modules", "ib_umad": "kernel-uek-modules-core"}
    assert kernel.packaged_modules(names, "6.1", base=f"{tmp_path}/") == {}
