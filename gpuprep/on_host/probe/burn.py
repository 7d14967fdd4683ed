"""Bounded load on all GPUs at a time: memory bandwidth, matrix products, copies between GPUs."""

import ctypes
import os
import time

from . import base, compiled, cuda, matrices, nvml

DEFAULTS = {
    "seconds": 60.0,  # of products per GPU
    "size": 8192,  # rows of the matrices under load
    "copy_bytes": 2 << 30,
    "peer_bytes": 256 << 20,
}
MARGIN = 120.0  # beyond that, for contexts and set-up, before a GPU is called stuck
COPIES = 20
HEALTH = ("temperature_c", "power_mw", "power_limit_mw", "throttle", "ecc", "rows")
PEER_COPIES = 8
CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF = 0, 2, 14  # library_types.h
COMPUTE_32F = 68  # cublas_api.h, CUBLAS_COMPUTE_32F
DEFAULT_ALGORITHM = -1


def collect(library, options, visible):
    """Load every GPU at the same time, then try each pair."""
    setting = dict(DEFAULTS, **options.get("burn", {}))
    setting["nvml_library"] = options.get("nvml_library", "libnvidia-ml.so.1")
    cublas = find_cublas(options)
    loads = base.side_by_side(
        load,
        setting["seconds"] + MARGIN,
        [(library, options["ptx"], one, setting, cublas) for one in visible],
    )
    answer = {"gpus": loads, "cublas": cublas}
    if len(visible) > 1:
        answer["peers"] = base.bounded(
            peers,
            MARGIN + 2.0 * len(visible) ** 2,
            library,
            options["ptx"],
            setting["peer_bytes"],
        )
    return answer


def find_cublas(options):
    """Return the path of a libcublas, from a toolkit or an environment; None without one."""
    folders = []
    for toolkit in compiled.toolkits(options):
        folders += [os.path.join(toolkit, "lib64"), os.path.join(toolkit, "lib")]
    folders += options.get("library_folders") or []
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in sorted(names):
            if name.startswith("libcublas.so"):
                return os.path.join(folder, name)
    return None


def load(library, ptx, visible, setting, cublas):
    """Measure one GPU. Runs in a child process."""
    gpu = matrices.open_gpu(library, ptx, visible)
    began = time.monotonic()
    answer = {"slot": gpu.slot(), "bandwidth": bandwidth(gpu, setting["copy_bytes"])}
    answer["bandwidth"]["seconds"] = round(time.monotonic() - began, 4)
    kinds = [kind for kind in ("bf16", "fp16") if "gemm_" + kind in gpu.functions]
    kind = kinds[0] if kinds else "fp32"
    answer["matrix"] = sustain(gpu, kind, setting, cublas)
    answer["after"] = health(setting["nvml_library"], answer["slot"])
    return answer


def health(library, slot):
    """Ask NVML how the GPU is, while it is still hot."""
    for gpu in nvml.collect(library).get("gpus") or []:
        if gpu.get("slot") == slot:
            return {key: gpu.get(key) for key in HEALTH}
    return {}


def bandwidth(gpu, most):
    """Copy within device memory; counts bytes read and written."""
    size = min(most, gpu.free_bytes() // 4 >> 20 << 20)
    one, other = gpu.allocate(size), gpu.allocate(size)
    words = ctypes.c_uint(size // 16)
    gpu.launch("fill_fp32", [one, ctypes.c_uint(size // 4), ctypes.c_uint(matrices.SEED_A)])

    def copies(number):
        for _ in range(number):
            gpu.launch("copy", [one, other, words], grid=(1 << 16, 1))

    gpu.timed(lambda: copies(2))
    seconds = gpu.timed(lambda: copies(COPIES))
    differences = gpu.differences(one, other, size // 4)
    gpu.free(one, other)
    return {
        "gbs": round(2.0 * size * COPIES / seconds / 1e9, 1),
        "bytes": size,
        "differences": differences,
    }


def sustain(gpu, kind, setting, cublas):
    """Multiply again and again; every product must equal the first, bit by bit."""
    n = setting["size"]
    a, b = [matrices.fill(gpu, kind, n, seed) for seed in (matrices.SEED_A, matrices.SEED_B)]
    first, again = gpu.allocate(4 * n * n), gpu.allocate(4 * n * n)
    method, multiply, why = "own", None, None
    if cublas and kind != "fp32":
        try:
            multiply, method = cublas_product(cublas, kind, n), "cublas"
        except (OSError, cuda.CudaError, AttributeError) as error:
            why = str(error)

    def product(into):
        if multiply is None:
            matrices.multiply(gpu, kind, a, b, into, n)
        else:
            multiply(a, b, into)

    product(first)
    gpu.wait()
    spent = busy = 0.0
    repeats = differences = 0
    rates = []
    began = time.monotonic()
    while spent < setting["seconds"]:
        batch = 10

        def several(number=batch):
            for _ in range(number):
                product(again)

        took = gpu.timed(several)
        rates.append(2.0 * n**3 * batch / took / 1e12)
        busy += took
        repeats += batch
        differences += gpu.differences(first, again, n * n)
        spent = time.monotonic() - began
    wrong = wrong_samples(gpu, first, n)
    gpu.free(a, b, first, again)
    answer = {
        "kind": kind,
        "method": method,
        "size": n,
        "repeats": repeats,
        "seconds": round(busy, 2),
        "tflops": round(2.0 * n**3 * repeats / busy / 1e12, 2),
        "tflops_lowest": round(min(rates), 2),
        "differences": differences,
        "wrong_samples": wrong,
    }
    if why:
        answer["cublas_error"] = why
    return answer


def wrong_samples(gpu, product, n, samples=16):
    """Compare single elements with exact sums made on the CPU."""
    wrong = 0
    for sample in range(samples):
        i, j = sample * 7919 % n, sample * 104729 % n
        exact = sum(
            cuda.value(i * n + k, matrices.SEED_A) * cuda.value(k * n + j, matrices.SEED_B)
            for k in range(n)
        )
        place = ctypes.c_uint64(product.value + 4 * (i * n + j))
        wrong += gpu.read(place, "f", 1)[0] * 64 != exact
    return wrong


def cublas_product(path, kind, n):
    """Return a function that multiplies with cuBLAS, on the current context."""
    library = ctypes.CDLL(path)
    handle = ctypes.c_void_p()
    status = library.cublasCreate_v2(ctypes.byref(handle))
    if status:
        raise cuda.CudaError("cublasCreate_v2: %d" % status)
    one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
    number = ctypes.c_int(n)
    given = ctypes.c_int(CUDA_R_16BF if kind == "bf16" else CUDA_R_16F)
    plain = ctypes.c_int(0)

    def multiply(a, b, product):
        # cuBLAS counts columns first: B A there is A B here
        status = library.cublasGemmEx(
            handle,
            plain,
            plain,
            number,
            number,
            number,
            ctypes.byref(one),
            b,
            given,
            number,
            a,
            given,
            number,
            ctypes.byref(zero),
            product,
            ctypes.c_int(CUDA_R_32F),
            number,
            ctypes.c_int(COMPUTE_32F),
            ctypes.c_int(DEFAULT_ALGORITHM),
        )
        if status:
            raise cuda.CudaError("cublasGemmEx: %d" % status)

    return multiply


def peers(library, ptx, size):
    """Copy between every pair of GPUs and compare what arrived. Runs in a child process."""
    driver = cuda.Driver(library)
    gpus = [cuda.Gpu(driver, ordinal) for ordinal in range(driver.count())]
    buffers = []
    for number, gpu in enumerate(gpus):
        gpu.use()
        gpu.load(ptx["kernels"])
        own, received = gpu.allocate(size), gpu.allocate(size)
        gpu.launch("fill_fp32", [own, ctypes.c_uint(size // 4), ctypes.c_uint(number)])
        gpu.wait()
        buffers.append((own, received))
    pairs = []
    for source in range(len(gpus)):
        pairs += [
            _pair(driver, gpus, buffers, (source, target), size)
            for target in range(len(gpus))
            if target != source
        ]
    return {"pairs": pairs, "bytes": size}


def _pair(driver, gpus, buffers, pair, size):
    """Copy from one GPU to another; the receiver makes the expected content itself."""
    source, target = pair
    sender, receiver = gpus[source], gpus[target]
    can = ctypes.c_int()
    driver("cuDeviceCanAccessPeer", ctypes.byref(can), receiver.device, sender.device)
    receiver.use()
    if can.value:
        try:
            driver("cuCtxEnablePeerAccess", sender.context, ctypes.c_uint(0))
        except cuda.CudaError as error:
            if "ALREADY_ENABLED" not in str(error):
                raise
    received = buffers[target][1]

    def copy():
        for _ in range(PEER_COPIES):
            driver(
                "cuMemcpyPeerAsync",
                received,
                receiver.context,
                buffers[source][0],
                sender.context,
                ctypes.c_size_t(size),
                ctypes.c_void_p(),
            )

    seconds = receiver.timed(copy)
    expected = receiver.allocate(size)
    receiver.launch("fill_fp32", [expected, ctypes.c_uint(size // 4), ctypes.c_uint(source)])
    differences = receiver.differences(expected, received, size // 4)
    receiver.free(expected)
    return {
        "from": source,
        "to": target,
        "direct": bool(can.value),
        "gbs": round(size * PEER_COPIES / seconds / 1e9, 1),
        "differences": differences,
    }
