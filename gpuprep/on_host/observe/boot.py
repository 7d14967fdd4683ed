"""Which kernel the next boot starts: the boot loader's default, not the newest file."""

import glob
import os
import re

from .base import natural, output, read

IMAGE = "vmlinuz-"
FOLDER = "/boot"
ENTRIES = "/boot/loader/entries/*.conf"  # Boot Loader Specification, type 1
BLOCKS = ("/boot/grub2/grubenv", "/boot/grub/grubenv")
MENU = "/boot/grub/grub.cfg"
GRUBBY = "/usr/sbin/grubby"
MENU_BYTES = 1 << 20


def installed():
    """Return the releases that have an image in /boot, oldest first."""
    paths = glob.glob("%s/%s*" % (FOLDER, IMAGE))
    releases = (os.path.basename(path)[len(IMAGE) :] for path in paths)
    return sorted((r for r in releases if "rescue" not in r), key=natural)


def next_boot(running, releases):
    """Return the release that the next boot starts, None when none is installed.

    Where no boot loader tells it, the newest of the running kernel's flavour, else of all.
    """
    for told in (_by_grubby, _by_entries, _by_menu):
        release = told()
        if release in releases:
            return release
    same = [release for release in releases if flavour(release) == flavour(running)]
    return (same or releases or [None])[-1]


def flavour(release):
    """Return what tells a kernel's flavour: its release without the numbers."""
    return re.sub(r"[\d._+~-]+", "-", release)


def _release(path):
    """Return the release of an image by its path, None when its name has none."""
    name = os.path.basename(path.strip())
    return name[len(IMAGE) :] if name.startswith(IMAGE) else None


def _by_grubby():
    return _release(output([GRUBBY, "--default-kernel"])) if os.path.exists(GRUBBY) else None


def environment():
    """Return the variables of grub's environment block."""
    found = {}
    for path in BLOCKS:
        for line in read(path).splitlines():
            name, equals, value = line.partition("=")
            if equals and name[:1] != "#":
                found.setdefault(name, value)
    return found


def _by_entries():
    """Return the release of the default entry: the saved one, else that of the newest kernel."""
    releases = {}
    for path in glob.glob(ENTRIES):
        image = re.search(r"^linux\s+(\S+)", read(path), re.M)
        if image and _release(image.group(1)):
            name = os.path.basename(path)[: -len(".conf")]
            releases[name] = _release(image.group(1))
    saved = environment().get("saved_entry", "")
    if saved in releases:
        return releases[saved]
    ordinary = [release for name, release in releases.items() if "rescue" not in name]
    return max(ordinary, key=natural) if ordinary else None


def _by_menu():
    """Return the release that grub's menu starts by default."""
    text = read(MENU, MENU_BYTES)
    chosen = re.findall(r'^\s*set default="([^"]*)"', text, re.M)
    variables = environment()
    # One that is good for the next boot only is not the default.
    wanted = [v for v in chosen if v != "${next_entry}"]
    wanted = wanted[-1] if wanted else "0"
    if wanted == "${saved_entry}":
        wanted = variables.get("saved_entry") or "0"
    tree = _menu(text)
    for part in wanted.split(">"):
        tree = _child(tree, part)
        if tree is None:
            return None
    while tree["entries"]:  # a submenu starts its first entry
        tree = tree["entries"][0]
    return tree["release"]


def _child(menu, name):
    """Return an entry of a menu by number, title or id."""
    entries = menu["entries"]
    if name.isdigit():
        return entries[int(name)] if int(name) < len(entries) else None
    return next((entry for entry in entries if name in entry["names"]), None)


def _menu(text):
    """Return grub's menu as a tree: names, release and entries of each entry."""
    top = {"names": (), "release": None, "entries": []}
    stack = [top]
    for line in map(str.strip, text.splitlines()):
        head = re.match(r"(menuentry|submenu)\s+(['\"])(.*?)\2", line)
        if head:
            mark = re.search(r"\$?menuentry_id_option\s+(['\"])(.*?)\1", line)
            names = (head.group(3), mark.group(2)) if mark else (head.group(3),)
            entry = {"names": names, "release": None, "entries": []}
            stack[-1]["entries"].append(entry)
            stack.append(entry)
        elif line.endswith("{"):
            stack.append({"names": (), "release": None, "entries": []})
        elif line == "}" and len(stack) > 1:
            stack.pop()
        image = re.match(r"linux(?:16|efi)?\s+(\S+)", line)
        if image:
            stack[-1]["release"] = _release(image.group(1))
    return top
