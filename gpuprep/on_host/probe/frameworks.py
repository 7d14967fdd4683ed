"""Try the frameworks of conda environments, each with the environment's own Python."""

import glob
import json
import os
import shutil

from . import base, compiled

SECONDS = 180.0  # the first import of a framework from a cold disk takes a minute
PREFIXES = ("/opt/conda",)
FRAMEWORKS = ("torch", "jax", "tensorflow")
MARK = "gpuprep-result:"

# Runs inside the environment; knows nothing of gpuprep. Prints one marked JSON line per framework.
SCRIPT = """
import importlib, importlib.util, json

EXTENSIONS = ("torchvision", "torchaudio", "flash_attn", "xformers", "bitsandbytes", "triton")

def words(error):
    return "%s: %s" % (type(error).__name__, str(error)[:600])

def exact(n=64):
    a = [[(i * 7 + j * 3) % 11 - 5 for j in range(n)] for i in range(n)]
    b = [[(i * 5 + j * 2) % 13 - 6 for j in range(n)] for i in range(n)]
    return a, b, [[sum(a[i][k] * b[k][j] for k in range(n)) for j in range(n)] for i in range(n)]

def try_torch(found):
    import torch
    found.update(version=torch.__version__, cuda=torch.version.cuda)
    found["cudnn"] = torch.backends.cudnn.version()
    found["architectures"] = torch.cuda.get_arch_list()
    if not found["architectures"] and hasattr(torch._C, "_cuda_getArchFlags"):
        # the public list is empty where no GPU can be used; what the build holds is asked then
        found["architectures"] = (torch._C._cuda_getArchFlags() or "").split()
    found["extensions"] = extensions(torch)
    found["available"] = torch.cuda.is_available()
    a, b, product = exact()
    for index in range(torch.cuda.device_count()):
        gpu = {"index": index, "name": torch.cuda.get_device_name(index)}
        gpu["compute_capability"] = "%d.%d" % torch.cuda.get_device_capability(index)
        found["gpus"].append(gpu)
        try:
            with torch.no_grad(), torch.cuda.device(index):
                matrices = (torch.tensor(m, dtype=torch.float32) for m in (a, b, product))
                left, right, exactly = matrices
                gpu["wrong"] = int(((left.cuda() @ right.cuda()).cpu() != exactly).sum())
                image, weight = torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3)
                expected = torch.nn.functional.conv2d(image, weight)
                got = torch.nn.functional.conv2d(image.cuda(), weight.cuda()).cpu()
                gpu["wrong"] += int((got != expected).sum())
        except Exception as error:
            gpu["error"] = words(error)

def extensions(torch):
    results = {}
    for name in EXTENSIONS:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
            if name == "torchvision":
                boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
                kept = module.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
                if kept != [0, 2]:
                    raise RuntimeError("torchvision::nms kept %s" % kept)
            results[name] = None
        except Exception as error:
            results[name] = words(error)
    return results

def try_jax(found):
    import jax, jax.numpy as jnp
    found["version"] = jax.__version__
    try:
        devices = jax.devices("gpu")
    except RuntimeError as error:
        devices, found["unavailable"] = [], words(error)
    found["available"] = bool(devices)
    a, b, product = exact()
    for index, device in enumerate(devices):
        gpu = {"index": index, "name": device.device_kind}
        gpu["compute_capability"] = str(getattr(device, "compute_capability", "")) or None
        found["gpus"].append(gpu)
        try:
            matrices = (jnp.array(m, dtype=jnp.float32) for m in (a, b, product))
            left, right, exactly = (jax.device_put(m, device) for m in matrices)
            gpu["wrong"] = int((jnp.matmul(left, right, precision="highest") != exactly).sum())
        except Exception as error:
            gpu["error"] = words(error)

def try_tensorflow(found):
    import tensorflow as tf
    info = tf.sysconfig.get_build_info()
    found.update(version=tf.__version__, cuda=info.get("cuda_version"))
    found["architectures"] = list(info.get("cuda_compute_capabilities") or [])
    devices = tf.config.list_physical_devices("GPU")
    found["available"] = bool(devices)
    a, b, product = exact()
    for index, device in enumerate(devices):
        details = tf.config.experimental.get_device_details(device)
        gpu = {"index": index, "name": details.get("device_name")}
        if details.get("compute_capability"):
            gpu["compute_capability"] = "%d.%d" % details["compute_capability"]
        found["gpus"].append(gpu)
        try:
            with tf.device("/GPU:%d" % index):
                got = tf.matmul(tf.constant(a, tf.float32), tf.constant(b, tf.float32))
            different = got != tf.constant(product, tf.float32)
            gpu["wrong"] = int(tf.reduce_sum(tf.cast(different, tf.int32)))
        except Exception as error:
            gpu["error"] = words(error)

for name, attempt in (("torch", try_torch), ("jax", try_jax), ("tensorflow", try_tensorflow)):
    if importlib.util.find_spec(name) is None:
        continue
    found = {"framework": name, "gpus": []}
    try:
        attempt(found)
    except Exception as error:
        found["error"] = words(error)
    print(MARK + json.dumps(found), flush=True)
"""


def collect(options):
    """Return one entry per environment that has a framework."""
    seconds = options.get("deadlines", {}).get("framework", SECONDS)
    envs = [_tried(python, seconds) for python in interpreters(options) if has_framework(python)]
    return {"envs": envs}


def _tried(python, seconds):
    """Try an interpreter with a directory of its own for temporary files."""
    folder = compiled.workspace()
    try:
        return _try(python, seconds, folder)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def interpreters(options):
    """Python interpreters of conda prefixes and their environments, and those named."""
    found = list(options.get("pythons") or [])
    for prefix in options.get("conda_prefixes") or PREFIXES:
        found.append(os.path.join(prefix, "bin", "python"))
        folder = os.path.join(prefix, "envs")
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            names = []
        found += [os.path.join(folder, name, "bin", "python") for name in names]
    return [path for path in found if os.access(path, os.X_OK)]


def has_framework(python):
    """Return whether one of the frameworks lies in the environment's site-packages."""
    library = os.path.join(os.path.dirname(os.path.dirname(python)), "lib")
    try:
        versions = [name for name in os.listdir(library) if name.startswith("python3")]
    except OSError:
        return False
    return any(
        os.path.isdir(os.path.join(library, version, "site-packages", framework))
        for version in versions
        for framework in FRAMEWORKS
    )


def _owner(python):
    """Return who can write what an interpreter runs, as (uid, gid): another user before root."""
    folder = os.path.dirname(python)  # the python itself may be a link to the system's
    library = os.path.join(os.path.dirname(folder), "lib")
    folders = [folder, library, *glob.glob(library + "/python3*/site-packages")]
    owners = [(info.st_uid, info.st_gid) for info in map(os.stat, filter(os.path.isdir, folders))]
    return max(owners, key=lambda owner: owner[0] not in (0, os.geteuid()))


def _try(python, seconds, folder):
    owner = _owner(python)
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", TF_CPP_MIN_LOG_LEVEL="3")
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if folder is not None:
        os.chown(folder, *owner)
        environment["TMPDIR"] = folder
    script = SCRIPT.replace("MARK", repr(MARK))
    step = base.command(
        [python, "-c", script],
        seconds,
        environment=environment,
        owner=owner,
        limit=1 << 16,
    )
    lines = step["output"].splitlines()
    results = [json.loads(line[len(MARK) :]) for line in lines if line.startswith(MARK)]
    step["output"] = "\n".join(line for line in lines if not line.startswith(MARK))
    step["output"] = step["output"][-base.OUTPUT_LIMIT :]
    step["argv"] = [python, "-c", "<framework probe>"]
    return {"python": python, "command": step, "frameworks": results}
