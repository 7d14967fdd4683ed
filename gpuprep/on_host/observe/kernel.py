"""Kernels and kernel modules."""

import glob
import os
import re
import struct

from . import boot
from .base import open_to_read, output, read

# modprobe.d(5): the first folder wins.
MODPROBE = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
BOOT = "/boot"
# What distributions call them; grub takes the first that is there, as we do. Kept copies and those
# of a crash kernel have longer names.
INITRAMFS = ("initrd.img-%s", "initrd-%s", "initramfs-%s.img")
RULES = ("alias", "blacklist", "install", "options")
SIDE_MODULE = re.compile(r"[-_](uvm|drm|modeset|peermem|fs)$")
SIGNED = b"~Module signature appended~\n"
KERNEL_WORD = re.compile(r"(?:module_blacklist=|modprobe\.blacklist=).*nvidia|nvidia\w*\.")


def kernels(target):
    """Return what is known of kernels; `Kernel` in observe/observation.py tells each key."""
    running = os.uname().release
    installed = boot.installed()
    release = target or running
    places = ("/lib/modules/%s/build/.config", "/boot/config-%s", "/lib/modules/%s/config")
    config = next(filter(None, (read(place % release, 1 << 14) for place in places)), "")
    compiler = re.search(r'^CONFIG_CC_VERSION_TEXT="(.*)"', config, re.M)
    if compiler is None and release == running:
        compiler = re.search(
            r"\(((?:[\w.+-]*gcc|clang)[^()]*\([^)]*\)[^,)]*)", read("/proc/version")
        )
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", read("/proc/self/status"), re.M)
    sys_module = 16  # CAP_SYS_MODULE, linux/capability.h
    return {
        "running": running,
        "target": release,
        "next_boot": boot.next_boot(running, installed),
        "headers": sorted(
            path.split("/")[3] for path in glob.glob("/lib/modules/*/build") if os.path.isdir(path)
        ),
        "compiler": compiler.group(1).strip() if compiler else None,
        "loads_modules": os.path.exists("/proc/modules")
        and bool(effective)
        and bool(int(effective.group(1), 16) >> sys_module & 1),
    }


def modinfo(path):
    """Return the pairs in an uncompressed module's .modinfo section (ELF64, little endian)."""
    with open_to_read(path) as handle:
        header = handle.read(64)
        if header[:4] != b"\x7fELF" or header[4] != 2:
            return {}
        (table,) = struct.unpack_from("<Q", header, 0x28)
        size, count, names = struct.unpack_from("<HHH", header, 0x3A)
        sections = []
        for number in range(count):
            handle.seek(table + number * size)
            sections.append(struct.unpack("<IIQQQQIIQQ", handle.read(64)))
        handle.seek(sections[names][4])
        strings = handle.read(sections[names][5])
        for section in sections:
            if strings[section[0] :].split(b"\0", 1)[0] == b".modinfo":
                handle.seek(section[4])
                pairs = handle.read(section[5]).split(b"\0")
                return dict(p.decode("utf-8", "replace").split("=", 1) for p in pairs if b"=" in p)
    return {}


def modules_on_disk(release):
    """Return the NVIDIA modules installed for a kernel: name, path, version, vermagic, licence."""
    base = "/lib/modules/" + release
    paths = {
        base + "/" + line.split(":", 1)[0]
        for line in read(base + "/modules.dep", 1 << 23).splitlines()
        if "nvidia" in line.split(":", 1)[0]
    }
    for folder in ("updates", "extra"):
        for top, _, files in os.walk(base + "/" + folder):
            paths.update(os.path.join(top, f) for f in files if re.match(r"nvidia[\w-]*\.ko", f))
    found = []
    for path in sorted(paths):
        name = os.path.basename(path).split(".ko")[0]
        if not name.startswith("nvidia") or not os.path.exists(path):
            continue
        try:
            facts = modinfo(path) if path.endswith(".ko") else {}
        except (OSError, struct.error, IndexError, MemoryError, OverflowError):
            facts = {}
        if not facts and path.endswith((".xz", ".zst", ".gz")):
            pairs = (line.split(":", 1) for line in output(["modinfo", path]).splitlines())
            facts = {p[0].strip(): p[1].strip() for p in pairs if len(p) == 2}
        found.append(
            {
                "kernel": release,
                "name": name,
                "path": path,
                "version": facts.get("version"),
                "vermagic": facts.get("vermagic", "").split(" ")[0] or None,
                "license": facts.get("license"),
                "signer": facts.get("signer") or _signer(name, path),
            }
        )
    return found


def _signer(name, path):
    """Return who signed the uncompressed main module, None when nobody did."""
    if SIDE_MODULE.search(name):
        return None
    try:
        with open_to_read(path) as handle:
            handle.seek(-len(SIGNED), os.SEEK_END)
            signed = handle.read() == SIGNED
    except OSError:
        return None
    return (output(["modinfo", "-F", "signer", path]).strip() or None) if signed else None


def modules_loaded():
    """Return NVIDIA and nouveau modules in the kernel, with their version."""
    return {
        name: read("/sys/module/%s/version" % name).strip() or None
        for name in _in_kernel()
        if name.startswith("nvidia") or name == "nouveau"
    }


def _in_kernel():
    return [line.split(" ", 1)[0] for line in read("/proc/modules", 1 << 20).splitlines()]


def other_modules(names, release, base="/lib/modules/"):
    """Return where other modules are: loaded, builtin, available, absent; None = not known."""
    folder = base + release
    listed = read(folder + "/modules.dep", 1 << 23)
    files = {_module_of(line.split(":", 1)[0]) for line in listed.splitlines()}
    builtin = set(map(_module_of, read(folder + "/modules.builtin", 1 << 20).splitlines()))
    loaded = set(_in_kernel()) if release == os.uname().release else set()
    found = {}
    for name in names:
        module = name.replace("-", "_")
        there = "available" if module in files else "absent" if listed else None
        found[name] = "loaded" if module in loaded else "builtin" if module in builtin else there
    return found


def packaged_modules(names, release, base="/lib/modules/"):
    """Return the package of each module, where a kernel says in which of its own they are."""
    found = {}
    for line in read("%s%s/modules.packages" % (base, release), 1 << 22).splitlines():
        words = re.split(r"[\s:=,]+", line.strip())
        packages = [word for word in words if word.startswith("kernel-")]
        for word in words if packages else []:
            found.setdefault(_module_of(word), packages[0])
    return {name: found[_module_of(name)] for name in names if _module_of(name) in found}


def _module_of(path):
    return os.path.basename(path.strip()).split(".ko")[0].replace("-", "_")


def module_rules(folders=MODPROBE, command_line="/proc/cmdline"):
    """Return the lines of modprobe's configuration, and words of the kernel's, that name nvidia."""
    paths = {}
    for folder in reversed(folders):  # a file hides those of its name in folders behind
        paths.update((os.path.basename(p), p) for p in glob.glob(folder + "/*.conf"))
    found = []
    for _, path in sorted(paths.items()):
        text = read(path, 1 << 20).replace("\\\n", " ")
        for line in map(str.strip, text.splitlines()):
            words = line.split()
            if len(words) > 1 and words[0] in RULES and "nvidia" in words[1]:
                found.append({"path": path, "line": " ".join(words)})
    words = (word for word in read(command_line).split() if KERNEL_WORD.match(word))
    return found + [{"path": command_line, "line": word} for word in words]


def initramfs(release, files, folder=BOOT):
    """Return the initial RAM disk that a kernel boots, with those of some files that are newer.

    Times differ by host; what they mean does not.
    """
    written = {path: seconds for path, seconds in zip(files, map(_written, files)) if seconds}
    for path in _initramfs(release, folder):
        made = _written(path)
        if made is not None:
            return {path: sorted(name for name, seconds in written.items() if made < seconds)}
    return {}


def initramfs_mb(release, folder=BOOT):
    """Return how large a kernel's initial RAM disks are, in MiB rounded up."""
    found = {path: _status(path) for path in _initramfs(release, folder)}
    return {path: -(-status.st_size >> 20) for path, status in found.items() if status}


def _initramfs(release, folder=BOOT):
    return [os.path.join(folder, name % release) for name in INITRAMFS]


def _written(path):
    """Return when a file was written, in seconds since 1970; None where there is none."""
    status = _status(path)
    return int(status.st_mtime) if status else None


def _status(path):
    try:
        return os.stat(path)
    except OSError:
        return None
