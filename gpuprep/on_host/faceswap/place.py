"""Looks at a host's jobs, places them, starts and stops them, and hands out their results.

Fed to ``python3 -S -E -`` as root. What is given to jobs is root's own and in root's directories;
what jobs wrote themselves is read with care, and never written to.
"""

import hashlib
import json
import os
import pwd
import shutil
import stat
import sys
import tarfile

from ..converge import files, folders
from ..converge.base import OperationError, command, last_lines

BASE = "/opt/gpuprep/faceswap"
UNIT = "gpuprep-faceswap@%s.service"
UNIT_FOLDER = "/etc/systemd/system"
BUNDLE = "bundle.tar"
MOST = 8 << 20  # bytes of a file that a job wrote, and that is read here
BLOCK = 1 << 20
HEX = frozenset("0123456789abcdef")
ROOT = (0, 0)


def main(text, marker):
    """Read a request, carry it out, and write the answer behind the marker."""
    request = json.loads(text)
    os.umask(0o022)
    try:
        need_root()
        answer = VERBS[request["verb"]](request)
    except OperationError as error:
        answer = {"failed": {"code": error.code, "message": error.message}}
    except Exception as error:  # noqa: BLE001 - whatever it is, the controller is told
        told = "%s: %s" % (type(error).__name__, error)
        answer = {"failed": {"code": "E_INTERNAL", "message": told}}
    sys.stdout.write("\n%s\n%s\n" % (marker, json.dumps(answer)))
    sys.stdout.flush()


def need_root():
    """Refuse to work as another user."""
    if os.geteuid() != 0:
        raise OperationError("E_NOT_ROOT", "the host was reached without root rights")


# --- looking ------------------------------------------------------------------------------------


def own_json(path):
    """Return what a file of root's says, None where there is none."""
    data = files.current(path)[0]
    try:
        return json.loads(data.decode("utf-8")) if data else None
    except ValueError:
        return None


def users_file(path, uid):
    """Return a descriptor of a file that a user owns, None where there is none.

    A link to a file of somebody else's is not followed to it: root may read what the user must not.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_uid == uid:
        return handle
    os.close(handle)
    return None


def users_json(path, uid):
    """Return what a file of a user's says, None where there is none that can be read."""
    handle = users_file(path, uid)
    if handle is None:
        return None
    with os.fdopen(handle, "rb") as stream:
        data = stream.read(MOST + 1)
    try:
        return json.loads(data.decode("utf-8")) if len(data) <= MOST else None
    except (ValueError, RecursionError):
        return None


def installation():
    """Return the record of Faceswap's installation, with the user's number as ``uid``, or None."""
    found = own_json(os.path.join(BASE, "installed.json"))
    if not isinstance(found, dict):
        return None
    try:
        return dict(found, uid=pwd.getpwnam(str(found.get("user"))).pw_uid)
    except KeyError:
        return dict(found, uid=None)


def free_mb(path):
    """Return free space of the file system that a path is on, or would be on."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize >> 20


def memory_mb():
    """Return the host's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def gpu_processes():
    """Return processes on GPUs: number of the GPU, process id and name; None without GPUs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    form = "--format=csv,noheader"
    rows = command([program, "--query-gpu=index,uuid", form])
    used = command([program, "--query-compute-apps=gpu_uuid,pid,process_name", form])
    if rows.code != 0 or used.code != 0:
        return None
    pairs = (line.split(",") for line in rows.out.splitlines())
    numbers = {pair[1].strip(): pair[0].strip() for pair in pairs if len(pair) > 1}
    found = []
    for line in used.out.splitlines():
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) > 2 and parts[0] in numbers and parts[1].isdigit():
            found.append([int(numbers[parts[0]]), int(parts[1]), parts[2]])
    return found


def of_unit(pid, name):
    """Return whether a process belongs to a job of ours."""
    try:
        with open("/proc/%d/cgroup" % pid) as handle:
            return "gpuprep-faceswap" in handle.read()
    except OSError:
        return name == ""


def unit_state(name):
    """Return properties of a job's unit."""
    asked = "--property=ActiveState,SubState,Result,UnitFileState,NRestarts"
    out = command(["systemctl", "show", asked, "--", UNIT % name]).out
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def of_job(name, installed):
    """Return what there is of a job."""
    found = {"definition": own_json(os.path.join(BASE, "jobs", name, "job.json"))}
    found["unit"] = unit_state(name)
    if installed is None or installed["uid"] is None:
        return found
    uid = installed["uid"]
    work = os.path.join(installed["root"], "jobs", name)
    definition = found["definition"] if isinstance(found["definition"], dict) else {}
    output = str(definition.get("output") or "")
    found["status"] = users_json(os.path.join(work, "status.json"), uid)
    found["begun"] = users_json(os.path.join(work, "model.json"), uid)
    found["model"] = users_state(os.path.join(work, "model"), uid)
    stem = os.path.splitext(os.path.basename(output))[0]
    found["sidecar"] = users_json(os.path.join(work, "out", stem + ".provenance.json"), uid)
    handle = users_file(os.path.join(work, "out", os.path.basename(output)), uid)
    found["output"] = handle is not None
    if handle is not None:
        os.close(handle)
    return found


def users_state(folder, uid):
    """Return trainer, iterations and batch sizes of the model in a folder, None without one."""
    try:
        names = [n for n in os.listdir(folder) if n.endswith("_state.json")]
    except OSError:
        return None
    for name in sorted(names):
        state = users_json(os.path.join(folder, name), uid)
        if isinstance(state, dict) and isinstance(state.get("iterations"), int):
            sessions = state.get("sessions")
            rows = sessions.values() if isinstance(sessions, dict) else ()
            batches = [row.get("batchsize") for row in rows if isinstance(row, dict)]
            return {
                "trainer": name[: -len("_state.json")],
                "iterations": state["iterations"],
                "batches": [b for b in batches if isinstance(b, int)],
            }
    return None


def look(request):
    """Return everything that jobs are decided by."""
    installed = installation()
    gone = os.path.join(BASE, "inputs")
    present = set(os.listdir(gone)) if os.path.isdir(gone) else set()
    used = gpu_processes()
    return {
        "installed": installed,
        "free_mb": {
            "base": free_mb(BASE),
            "root": free_mb(str(installed["root"]) if installed else "/var/lib"),
        },
        "memory_mb": memory_mb(),
        "inputs": sorted(present.intersection(request["inputs"])),
        "gpu_processes": used and [row for row in used if not of_unit(row[1], row[2])],
        "jobs": {name: of_job(name, installed) for name in request["jobs"]},
        "placed": {path: sha_of(path) for path in request["files"]},
    }


def sha_of(path):
    """Return the digest of a file of root's, None where there is none."""
    data = files.current(path)[0]
    return None if data is None else hashlib.sha256(data).hexdigest()


# --- placing ------------------------------------------------------------------------------------


def take_in(folder, expected):
    """Take inputs from an archive that was carried here; each is its digest's, or refused."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        handle = os.open(BUNDLE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)
    left = set(expected)
    inputs = os.path.join(BASE, "inputs")
    target = folders.open_directory(inputs)
    try:
        with os.fdopen(handle, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = member.name
                if name not in left or not set(name) <= HEX or not member.isfile():
                    raise OperationError("E_FILE", "what was carried here is not what was sent")
                take_one(archive.extractfile(member), name, target)
                left.discard(name)
    except (tarfile.TarError, EOFError) as error:
        raise OperationError("E_FILE", "what was carried here was cut off: %s" % error) from error
    finally:
        os.close(target)
    if left:
        raise OperationError("E_FILE", "%d files of jobs did not arrive" % len(left))


def take_one(stream, name, directory):
    """Keep a file under its digest, if it has it."""
    fresh = ".%s.new" % name
    try:
        os.unlink(fresh, dir_fd=directory)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    handle = os.open(fresh, flags, 0o600, dir_fd=directory)
    found = hashlib.sha256()
    with os.fdopen(handle, "wb") as target:
        for block in iter(lambda: stream.read(BLOCK), b""):
            found.update(block)
            target.write(block)
        target.flush()
        os.fchmod(target.fileno(), 0o644)
        os.fsync(target.fileno())
    if found.hexdigest() != name:
        os.unlink(fresh, dir_fd=directory)
        raise OperationError("E_CHECKSUM", "a file of a job was altered on its way: %s" % name)
    os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)


def systemctl(*arguments):
    """Run systemctl.

    Raises:
        OperationError: it failed.

    """
    outcome = command(["systemctl", "--no-ask-password", *arguments])
    if outcome.code != 0:
        told = "systemctl %s: %s" % (" ".join(arguments), last_lines(outcome))
        raise OperationError("E_SERVICE", told)


def place(request):
    """Place inputs, programs and definitions; start and stop units. Return what was changed."""
    changed = []
    if request["inputs"]:
        take_in(request["folder"], request["inputs"])
        changed.append("brought %d files" % len(request["inputs"]))
    reload = False
    for path, content in sorted(request["files"].items()):
        data = content.encode("utf-8")
        if sha_of(path) != hashlib.sha256(data).hexdigest():
            files.write(path, data, 0o644, ROOT)
            reload = reload or path.startswith(UNIT_FOLDER)
            changed.append("wrote %s" % path)
    if reload:
        systemctl("daemon-reload")
    for name in request["start"]:
        # A job that failed too often is not started otherwise.
        command(["systemctl", "reset-failed", "--", UNIT % name])
        systemctl("enable", "--quiet", "--", UNIT % name)
        verb = "restart" if name in request["anew"] else "start"
        systemctl(verb, "--", UNIT % name)
        changed.append("started job %s" % name)
    for name in request["stop"]:
        systemctl("disable", "--quiet", "--", UNIT % name)
        systemctl("stop", "--", UNIT % name)
        changed.append("stopped job %s" % name)
    return {"changed": changed}


# --- handing out --------------------------------------------------------------------------------


def hand_out(request):
    """Copy a job's video and sidecar into a folder of the login user's; return their digests."""
    installed = installation()
    name = request["job"]
    definition = own_json(os.path.join(BASE, "jobs", name, "job.json"))
    if installed is None or installed["uid"] is None or not isinstance(definition, dict):
        raise OperationError("E_FS_INSTALL", "there is no job %s" % name)
    video = os.path.basename(str(definition["output"]))
    out = os.path.join(installed["root"], "jobs", name, "out")
    names = {"video": video, "sidecar": os.path.splitext(video)[0] + ".provenance.json"}
    directory = os.open(request["folder"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    owner = os.fstat(directory)
    found = {}
    try:
        for kind, file_name in names.items():
            handle = users_file(os.path.join(out, file_name), installed["uid"])
            if handle is None:
                raise OperationError("E_FS_RUN", "job %s has no %s" % (name, file_name))
            found[kind] = copy_out(handle, kind, directory, owner)
    finally:
        os.close(directory)
    return found


def copy_out(handle, kind, directory, owner):
    """Copy an open file into a directory; return its digest."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    target = os.open(kind, flags, 0o600, dir_fd=directory)
    digest = hashlib.sha256()
    with os.fdopen(handle, "rb") as source, os.fdopen(target, "wb") as copy:
        for block in iter(lambda: source.read(BLOCK), b""):
            digest.update(block)
            copy.write(block)
        os.fchown(copy.fileno(), owner.st_uid, owner.st_gid)
    return digest.hexdigest()


VERBS = {"look": look, "place": place, "hand_out": hand_out}
