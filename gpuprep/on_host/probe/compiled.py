"""Compile our programs with the host's own toolkit, and run them."""

import glob
import json
import os
import shutil
import stat
import tempfile
import time

from . import base

PREFIX = "gpuprep-verify-"
LONGEST_SECONDS = 7200  # more than any tier takes
NOEXEC = 8  # statvfs f_flag ST_NOEXEC
COMPILE_SECONDS = 180.0
RUN_SECONDS = 120.0
# Hardened hosts mount some of them noexec.
FOLDERS = ("/var/tmp", "/tmp", "/var/lib", "/opt")


def _remove_left_behind():
    """Remove the directories of programs that were killed."""
    for path in (one for folder in FOLDERS for one in glob.glob("%s/%s*" % (folder, PREFIX))):
        try:
            info = os.lstat(path)
        except OSError:
            continue
        own = stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
        if own and time.time() - info.st_mtime > LONGEST_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def workspace():
    """Make a directory in which programs may run; None where there is none."""
    _remove_left_behind()
    for folder in FOLDERS:
        try:
            if not os.statvfs(folder).f_flag & NOEXEC:
                return tempfile.mkdtemp(prefix=PREFIX, dir=folder)
        except OSError:
            continue
    return None


def toolkits(options, default="/usr/local/cuda"):
    """Return the toolkits to try, the default one first: those named, else all that are there."""
    named = options.get("toolkits")
    if named is not None:
        return list(named)
    first = os.path.realpath(default)
    # cuda-13 is a link to cuda-13.0: one toolkit, to be tried once.
    others = {os.path.realpath(path) for path in glob.glob(default + "-[0-9]*")} - {first}
    found = [path for path in [first, *sorted(others)] if os.access(_nvcc(path), os.X_OK)]
    on_path = shutil.which("nvcc")
    if not found and on_path:
        found = [os.path.dirname(os.path.dirname(os.path.realpath(on_path)))]
    return found


def _nvcc(toolkit):
    return os.path.join(toolkit, "bin", "nvcc")


def collect(options, architectures):
    """Compile and run the vector sum with each toolkit, the convolution with each cuDNN."""
    wanted = toolkits(options)
    found = [path for path in wanted if os.access(_nvcc(path), os.X_OK)]
    missing = [_nvcc(path) for path in wanted if path not in found]
    answer = {"compile": [], "run": [], "missing": missing}
    if not found:
        answer["skipped"] = "no CUDA compiler on this host"
        return answer
    folder = workspace()
    if folder is None:
        answer["error"] = "no directory to run programs in: %s are noexec" % ", ".join(FOLDERS)
        return answer
    try:
        for name, text in options["sources"].items():
            with open(os.path.join(folder, name), "w") as stream:
                stream.write(text)
        for number, toolkit in enumerate(found):
            program = "vector_add-%d" % number
            nvcc = _nvcc(toolkit)
            step = _compile(nvcc, folder, "vector_add.cu", program, architectures, [])
            step["toolkit"] = toolkit
            answer["compile"].append(step)
            if step["rc"] == 0:
                answer["run"].append(_run([os.path.join(folder, program)], options))
        answer["cudnn"] = _cudnn(options, _nvcc(found[0]), folder, architectures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return answer


def _compile(nvcc, folder, source, program, architectures, flags):  # noqa: PLR0913, PLR0917
    targets = []
    for architecture in architectures:
        number = architecture.replace(".", "")
        targets += ["-gencode", "arch=compute_%s,code=sm_%s" % (number, number)]
    argv = [nvcc, "-O2", source, "-o", program, *targets, *list(flags)]
    # nvcc's own temporary files have names that others can foresee.
    environment = dict(os.environ, TMPDIR=folder)
    step = base.command(argv, COMPILE_SECONDS, cwd=folder, environment=environment)
    step["architectures"] = list(architectures)
    return step


def _run(argv, options):
    """Run a program of ours and read the JSON lines it prints."""
    folders = options.get("library_folders") or []
    environment = dict(os.environ, TMPDIR=os.path.dirname(argv[0]))
    if folders:
        known = [environment["LD_LIBRARY_PATH"]] if environment.get("LD_LIBRARY_PATH") else []
        environment["LD_LIBRARY_PATH"] = ":".join(folders + known)
    step = base.command(argv, RUN_SECONDS, environment=environment)
    step["results"] = []
    for line in step["output"].splitlines():
        try:
            step["results"].append(json.loads(line))
        except ValueError:
            continue
    return step


def _cudnn(options, nvcc, folder, architectures):
    """Compile against the cuDNN header; ask it for its version; convolve."""
    cudnn = options.get("cudnn") or {}
    include, library = cudnn.get("include"), cudnn.get("lib")
    flags = ["-lcudnn"]
    if include:
        flags += ["-I", include]
    if library:
        flags = _library_flags(library) + flags[1:]
    elif not _has_header(nvcc):
        return {"skipped": "no cuDNN header on this host"}
    step = _compile(nvcc, folder, "convolution.cu", "convolution", architectures, flags)
    answer = {"compile": step}
    if step["rc"] == 0:
        program = os.path.join(folder, "convolution")
        answer["version"] = _run([program, "--version"], options)
        answer["run"] = _run([program], options)
    return answer


def _library_flags(folder):
    """Link the cuDNN in a folder, also one that has no name without version (as in wheels)."""
    names = sorted(name for name in os.listdir(folder) if name.startswith("libcudnn.so"))
    library = os.path.join(folder, names[0]) if names else "-lcudnn"
    return ["-Xlinker", library, "-Xlinker", "-rpath", "-Xlinker", folder]


def _has_header(nvcc):
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))
    folders = [os.path.join(prefix, "include"), "/usr/include", "/usr/local/include"]
    machine = os.uname().machine
    folders.append("/usr/include/%s-linux-gnu" % machine)
    return any(os.path.exists(os.path.join(folder, "cudnn.h")) for folder in folders)
