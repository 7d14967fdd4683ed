"""Observe a GPU host: read-only, standard library only, Python 3.6 or newer, one JSON object out.

Runs on the host itself, fed to ``python3 -S -E -`` on standard input, so nothing is written there.
The caller puts a line ``REQUEST = {...}`` (and the text of ``_openpgp.py``) in front; keys:

    packages   regular expression of package names to report
    files      paths to describe
    keys       paths of repository keys to fingerprint
    units      systemd units to describe
    kernel     kernel release the driver is built for, or null for the running one
    conda      conda prefix
    commands   programs whose presence matters
"""

import glob
import grp
import hashlib
import json
import os
import pwd
import re
import stat
import struct
import subprocess
import sys
import time

REQUEST = globals().get("REQUEST", {})
FINGERPRINTS = globals().get("fingerprints")  # the function of _openpgp.py
HASH_LIMIT = 1 << 20  # bytes; managed files are small
COMMAND_SECONDS = 10
NVIDIA = "10de"  # PCI vendor


def read(path, limit=1 << 16):
    """Text of a small file, or an empty string."""
    try:
        with open(path, "rb") as handle:
            return handle.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def output(argv):
    """Standard output of a command, or an empty string when it fails or hangs."""
    environment = dict(os.environ, LC_ALL="C", SYSTEMD_PAGER="")
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def natural(text):
    """Sort key that orders kernel releases: digits as numbers."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.findall(r"\d+|\D+", text)]


def os_release():
    """ID, VERSION_ID, codename and pretty name of the distribution."""
    found = {}
    for line in (read("/etc/os-release") or read("/usr/lib/os-release")).splitlines():
        key, _, value = line.partition("=")
        found[key] = value.strip().strip("\"'")
    return {
        "id": found.get("ID", ""),
        "version_id": found.get("VERSION_ID", ""),
        "codename": found.get("VERSION_CODENAME", ""),
        "pretty": found.get("PRETTY_NAME", ""),
    }


def kernels(target):
    """Running, installed and target kernel, headers, compiler, whether modules can be loaded."""
    running = os.uname().release
    booted = sorted((p[len("/boot/vmlinuz-") :] for p in glob.glob("/boot/vmlinuz-*")), key=natural)
    release = target or running
    config = read("/lib/modules/%s/build/.config" % release, 1 << 14) or read(
        "/boot/config-" + release, 1 << 14
    )
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
        "newest_installed": booted[-1] if booted else None,
        "headers": sorted(
            path.split("/")[3] for path in glob.glob("/lib/modules/*/build") if os.path.isdir(path)
        ),
        "compiler": compiler.group(1).strip() if compiler else None,
        "loads_modules": os.path.exists("/proc/modules")
        and bool(effective)
        and bool(int(effective.group(1), 16) >> sys_module & 1),
    }


def system_gcc():
    """Major version of the default gcc, from its own library directory; None without gcc."""
    link = os.path.realpath("/usr/bin/gcc")
    found = re.search(r"gcc-(\d+)$", link)
    if found:
        return int(found.group(1))
    if not os.path.exists(link):
        return None
    text = output(["gcc", "-dumpversion"])
    return int(text.split(".")[0]) if text[:1].isdigit() else None


def pci():
    """NVIDIA devices on the PCI bus, from sysfs."""
    paths = sorted(glob.glob("/sys/bus/pci/devices/*"))
    return [
        {
            "slot": os.path.basename(path),
            "vendor": NVIDIA,
            "device": read(path + "/device").strip()[2:],
            "pci_class": read(path + "/class").strip()[2:],
        }
        for path in paths
        if read(path + "/vendor").strip() == "0x" + NVIDIA
    ]


def modinfo(path):
    """Key/value pairs of an uncompressed module's .modinfo section (ELF64, little endian)."""
    with open(path, "rb") as handle:
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
    """NVIDIA modules installed for a kernel: name, path, version, vermagic, licence."""
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
        except (OSError, struct.error, IndexError):
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
            }
        )
    return found


def modules_loaded():
    """NVIDIA and nouveau modules in the kernel, with their version."""
    names = [line.split(" ", 1)[0] for line in read("/proc/modules", 1 << 20).splitlines()]
    return {
        name: read("/sys/module/%s/version" % name).strip() or None
        for name in names
        if name.startswith("nvidia") or name == "nouveau"
    }


def driver():
    """What the loaded driver says of itself, its device nodes and who holds them."""
    text = read("/proc/driver/nvidia/version")
    version = re.search(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    nodes = sorted(glob.glob("/dev/nvidia*") + glob.glob("/dev/nvidia-caps/*"))
    holders = []
    if nodes:
        for entry in glob.glob("/proc/[0-9]*/fd/*"):
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            if target.startswith("/dev/nvidia"):
                pid = entry.split("/")[2]
                holders.append((int(pid), read("/proc/%s/comm" % pid).strip()))
    return {
        "proc_version": version.group(1) if version else None,
        "flavour": None if not version else ("open" if "Open Kernel" in text else "proprietary"),
        "device_nodes": [n for n in nodes if not os.path.isdir(n)],
        "holders": [{"pid": pid, "command": comm} for pid, comm in sorted(set(holders))],
    }


def deb_packages(wanted):
    """Packages of interest and broken ones, from dpkg's own database."""
    found, broken = {}, []
    try:
        with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as handle:
            stanzas = handle.read().split("\n\n")
    except OSError:
        return found, broken
    for stanza in stanzas:
        name = stanza[9 : stanza.find("\n")]
        state = re.search(r"^Status: (\S+) (\S+) (\S+)", stanza, re.M)
        if state is None:
            continue
        if state.group(3) not in ("installed", "config-files", "not-installed"):
            broken.append({"name": name, "status": state.group(3)})
        if not wanted(name):
            continue
        fields = dict(
            re.findall(r"^(Version|Architecture|Depends|Pre-Depends|Provides): (.*)", stanza, re.M)
        )
        found[name] = {
            "version": fields.get("Version"),
            "status": state.group(3),
            "hold": state.group(1) == "hold",
            "depends": ", ".join(fields[k] for k in ("Pre-Depends", "Depends") if k in fields),
            "provides": fields.get("Provides", ""),
        }
    return found, broken


def rpm_packages(wanted):
    """Packages of interest from the rpm database, versionlocks as holds."""
    locks = read("/etc/dnf/plugins/versionlock.list") + read("/etc/dnf/versionlock.toml")
    found = {}
    for line in output(
        [
            "rpm",
            "-qa",
            "--qf",
            "%{NAME}\\t%{EVR}\\t%{ARCH}\\t[%{REQUIRENAME} ]\\t[%{PROVIDENAME} ]\\n",
        ]
    ).splitlines():
        name, version, _arch, requires, provides = line.split("\t")
        if wanted(name):
            found[name] = {
                "version": version,
                "status": "installed",
                "hold": name in locks,
                "depends": ", ".join(requires.split()),
                "provides": ", ".join(provides.split()),
            }
    return found, []


def lock_holders():
    """Processes that hold the package manager's locks, from the kernel's lock table."""
    inodes = {}
    for path in (
        "/var/lib/dpkg/lock-frontend",
        "/var/lib/dpkg/lock",
        "/var/lib/apt/lists/lock",
        "/var/lib/rpm/.rpm.lock",
        "/run/gpuprep.lock.lockfile",
    ):
        try:
            inodes[os.stat(path).st_ino] = path
        except OSError:
            continue
    holders = []
    for line in read("/proc/locks").splitlines():
        words = line.split()
        inode = words[5].split(":")[-1] if len(words) > 5 else ""
        if inode.isdigit() and int(inode) in inodes and words[1] != "->":
            pid = words[4]
            holders.append(
                {
                    "path": inodes[int(inode)],
                    "pid": int(pid),
                    "command": read("/proc/%s/comm" % pid).strip(),
                }
            )
    return holders


def describe_file(path):
    """Kind, mode, owner and hash or link target of a path; None when it is absent."""
    try:
        info = os.lstat(path)
    except OSError:
        return None
    try:
        owner, group = pwd.getpwuid(info.st_uid).pw_name, grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        owner, group = str(info.st_uid), str(info.st_gid)
    facts = {"mode": "%04o" % stat.S_IMODE(info.st_mode), "owner": owner, "group": group}
    if stat.S_ISLNK(info.st_mode):
        facts.update(kind="link", target=os.readlink(path))
    elif stat.S_ISDIR(info.st_mode):
        facts.update(kind="directory")
    else:
        facts.update(kind="file", mtime=int(info.st_mtime))
        if info.st_size <= HASH_LIMIT:
            with open(path, "rb") as handle:
                facts["sha256"] = hashlib.sha256(handle.read()).hexdigest()
    return facts


def key_fingerprints(paths):
    """Fingerprint of the primary key in each key file that can be read."""
    found = {}
    for path in paths:
        try:
            with open(path, "rb") as handle:
                found[path] = FINGERPRINTS(handle.read())
        except (OSError, ValueError):
            continue
    return found


def units(names):
    """Whether each systemd unit exists, is enabled, active, masked."""
    found = {}
    if not names:
        return found
    text = output(
        ["systemctl", "show", "--property=Id,LoadState,UnitFileState,ActiveState", "--", *names]
    )
    for name, block in zip(names, text.strip("\n").split("\n\n")):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[name] = {
            "exists": facts.get("LoadState") not in ("not-found", None),
            "enabled": facts.get("UnitFileState")
            in ("enabled", "enabled-runtime", "static", "alias"),
            "active": facts.get("ActiveState") == "active",
            "masked": facts.get("LoadState") == "masked",
        }
    return found


def alternative(name):
    """Mode and value of an update-alternatives link group."""
    mode = read("/var/lib/dpkg/alternatives/" + name).split("\n", 1)[0] or None
    try:
        value = os.readlink("/etc/alternatives/" + name)
    except OSError:
        value = None
    return {"mode": mode, "value": value}


def cuda():
    """Toolkits under /usr/local and where the default link leads."""
    toolkits = []
    for path in sorted(glob.glob("/usr/local/cuda-[0-9]*.[0-9]*")):
        text = read(path + "/version.json")
        try:
            version = json.loads(text)["cuda"]["version"]
        except (ValueError, KeyError, TypeError):
            version = None
        toolkits.append(
            {"path": path, "version": version, "nvcc": os.path.exists(path + "/bin/nvcc")}
        )
    link = "/usr/local/cuda"
    return {
        "toolkits": toolkits,
        "default": os.path.realpath(link) if os.path.exists(link) else None,
        "alternative": alternative("cuda"),
    }


def cudnn():
    """Version in the header and in the names of the installed libraries."""
    header = None
    for path in glob.glob("/usr/include/cudnn_version*.h") + glob.glob(
        "/usr/include/*-linux-gnu/cudnn_version*.h"
    ):
        text = read(path)
        parts = re.findall(r"#define CUDNN_(?:MAJOR|MINOR|PATCHLEVEL)\s+(\d+)", text)
        if len(parts) >= 3:
            header = ".".join(parts[:3])
            break
    names = set()
    for folder in ("/usr/lib/*-linux-gnu", "/usr/lib64"):
        for path in glob.glob(folder + "/libcudnn.so.*.*.*"):
            names.add(os.path.basename(path)[len("libcudnn.so.") :])
    return {"header_version": header, "library_versions": sorted(names)}


def conda_packages(prefix):
    """Packages of a conda environment by name: ``version-build``."""
    found = {}
    for path in glob.glob(prefix + "/conda-meta/*-*-*.json"):
        name, version, build = os.path.basename(path)[: -len(".json")].rsplit("-", 2)
        found[name] = version + "-" + build
    return found


def marker(path):
    """A JSON file that gpuprep left, or None."""
    try:
        return json.loads(read(path, 1 << 20))
    except ValueError:
        return None


def conda(prefix):
    """The conda installation at a prefix and its environments."""
    if not prefix or not os.path.isdir(prefix):
        return {"prefix": prefix, "exists": False, "complete": False, "envs": {}}
    envs = {}
    for path in sorted(glob.glob(prefix + "/envs/*/conda-meta")):
        env = os.path.dirname(path)
        envs[os.path.basename(env)] = {
            "path": env,
            "packages": conda_packages(env),
            "marker": marker(path + "/gpuprep"),
        }
    packages = conda_packages(prefix)
    return {
        "prefix": prefix,
        "exists": True,
        "complete": os.path.exists(prefix + "/bin/conda") and "conda" in packages,
        "version": packages.get("conda", "").rsplit("-", 1)[0] or None,
        "packages": packages,
        "marker": marker(prefix + "/conda-meta/gpuprep"),
        "envs": envs,
    }


def secure_boot():
    """Whether Secure Boot is on, and whether the key DKMS signs with is enrolled."""
    state = glob.glob("/sys/firmware/efi/efivars/SecureBoot-*")
    enabled = False
    if state:
        with open(state[0], "rb") as handle:
            enabled = handle.read()[-1:] == b"\x01"
    enrolled = False
    for mok in ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der"):
        for listing in glob.glob("/sys/firmware/efi/efivars/MokListRT-*"):
            try:
                with open(mok, "rb") as key, open(listing, "rb") as table:
                    enrolled = enrolled or key.read() in table.read()
            except OSError:
                continue
    return enabled, enrolled


def package_indexes():
    """Names of the package index files that apt has."""
    try:
        return sorted(n for n in os.listdir("/var/lib/apt/lists") if n.endswith("_Packages"))
    except OSError:
        return []


def foreign_sources(own):
    """Package sources that name NVIDIA's repository and are not ours."""
    pattern = re.compile(r"^[^#]*(developer\.download\.nvidia|/cuda/repos/)", re.M)
    paths = (
        glob.glob("/etc/apt/sources.list")
        + glob.glob("/etc/apt/sources.list.d/*")
        + glob.glob("/etc/yum.repos.d/*.repo")
    )
    return [path for path in paths if path not in own and pattern.search(read(path))]


def free_mb(path):
    """Free MiB for root-less writers on the file system of a path (or of its nearest parent)."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize >> 20


def observe(request):
    """Gather everything; see the module text for the request."""
    started = time.time()
    wanted = re.compile(request.get("packages") or r"(?!)").match
    is_deb = os.path.exists("/var/lib/dpkg/status")
    packages, broken = (deb_packages if is_deb else rpm_packages)(wanted)
    enabled, enrolled = secure_boot()
    kernel = kernels(request.get("kernel"))
    files = request.get("files") or []
    return {
        "schema": 1,
        "uid": os.getuid(),
        "hostname": os.uname().nodename,
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "os": os_release(),
        "arch": os.uname().machine,
        "kernel": kernel,
        "system_gcc": system_gcc(),
        "pci": pci(),
        "modules": {"loaded": modules_loaded(), "on_disk": modules_on_disk(kernel["target"])},
        "driver": driver(),
        "package_manager": {
            "family": "deb" if is_deb else "rpm",
            "broken": broken,
            "locks": lock_holders(),
            "indexes": package_indexes(),
            "foreign_sources": foreign_sources(files),
        },
        "packages": packages,
        "files": {path: describe_file(path) for path in files},
        "keys": key_fingerprints(request.get("keys") or []),
        "units": units(request.get("units") or []),
        "cuda": cuda(),
        "cudnn": cudnn(),
        "conda": conda(request.get("conda")),
        "secure_boot": enabled,
        "mok_enrolled": enrolled,
        "runfile": any(
            os.path.exists(p) for p in ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")
        ),
        "free_mb": {p: free_mb(p) for p in ("/usr", "/var", "/opt", "/boot", "/tmp")},
        "commands": {
            name: any(
                os.access(os.path.join(d, name), os.X_OK)
                for d in ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin")
            )
            for name in request.get("commands") or []
        },
        "initramfs": {
            p: int(os.stat(p).st_mtime) for p in glob.glob("/boot/init*" + kernel["target"] + "*")
        },
        "seconds": round(time.time() - started, 4),
    }


if not globals().get("__gpuprep_embedded__"):
    json.dump(observe(REQUEST), sys.stdout)
