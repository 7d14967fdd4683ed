"""Vector sum and matrix products on one GPU, compared with exact results from the CPU."""

import ctypes
import time

from . import cuda

SIZE = 512  # rows of the matrices that are checked: a multiple of 64
SAMPLES = 64  # single elements compared beside the row sums
ELEMENTS = 1 << 20  # of the vector sum
SEED_A, SEED_B = 1, 2
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
NEEDS = {"fp16": (7, 0), "bf16": (8, 0)}  # compute capability of the tensor cores
TILE = {"fp32": (32, (32, 8)), "fp16": (64, (128, 1)), "bf16": (64, (128, 1))}


def open_gpu(library, ptx, visible):
    """Open the GPU that this process may see and load what it can run of our kernels."""
    cuda.choose(visible)
    gpu = cuda.Gpu(cuda.Driver(library))
    capability = gpu.capability()
    gpu.load(ptx["kernels"])
    for kind, needed in sorted(NEEDS.items()):
        if capability >= needed:
            gpu.load(ptx["tensor_" + kind])
    return gpu


def check(library, ptx, visible, size=SIZE):
    """Run the vector sum and all products on one GPU. Runs in a child process."""
    began = time.monotonic()
    gpu = open_gpu(library, ptx, visible)
    answer = {
        "slot": gpu.slot(),
        "compute_capability": "%d.%d" % gpu.capability(),
        "vector_add": vector_add(gpu),
        "gemm": {},
    }
    # The start of the context is part of the first kernel's time, as for every program.
    answer["vector_add_seconds"] = round(time.monotonic() - began, 4)
    began = time.monotonic()
    reference = None
    for kind in ("fp32", "fp16", "bf16"):
        if gpu.capability() < NEEDS.get(kind, (0, 0)):
            answer["gemm"][kind] = {"skipped": "needs compute capability %d.%d" % NEEDS[kind]}
            continue
        product, result = multiply_and_check(gpu, kind, size)
        if reference is None:
            reference = product
        else:
            result["differs_from_fp32"] = gpu.differences(reference, product, size * size)
        answer["gemm"][kind] = result
    answer["gemm_seconds"] = round(time.monotonic() - began, 4)
    return answer


def vector_add(gpu):
    """Add two vectors; every element is compared with the CPU's sum."""
    size = ctypes.c_uint(ELEMENTS)
    a, b, total = [gpu.allocate(4 * ELEMENTS) for _ in range(3)]
    gpu.launch("fill_fp32", [a, size, ctypes.c_uint(SEED_A)])
    gpu.launch("fill_fp32", [b, size, ctypes.c_uint(SEED_B)])
    gpu.launch("vector_add", [a, b, total, size])
    gpu.wait()
    left, right, found = [gpu.read(pointer, "f", ELEMENTS) for pointer in (a, b, total)]
    gpu.free(a, b, total)
    wrong = sum(1 for x, y, z in zip(left, right, found) if x + y != z)
    # the inputs themselves are checked too, on a sample: else a GPU that writes zeros would pass
    wrong += sum(
        1 for i in range(0, ELEMENTS, ELEMENTS // 997) if left[i] * 8 != cuda.value(i, SEED_A)
    )
    return {"elements": ELEMENTS, "wrong": wrong}


def fill(gpu, kind, n, seed):
    """Make an input matrix on the GPU."""
    pointer = gpu.allocate(BYTES[kind] * n * n)
    gpu.launch("fill_" + kind, [pointer, ctypes.c_uint(n * n), ctypes.c_uint(seed)])
    return pointer


def multiply(gpu, kind, a, b, product, n):  # noqa: PLR0913, PLR0917
    """Start our own matrix product."""
    tile, block = TILE[kind]
    gpu.launch("gemm_" + kind, [a, b, product, ctypes.c_uint(n)], (n // tile, n // tile), block)


def multiply_and_check(gpu, kind, n):
    """Multiply and compare row sums and single elements with exact arithmetic on the CPU."""
    a, b = fill(gpu, kind, n, SEED_A), fill(gpu, kind, n, SEED_B)
    product = gpu.allocate(4 * n * n)
    gpu.clear(product, n * n)
    seconds = gpu.timed(lambda: multiply(gpu, kind, a, b, product, n))
    found = gpu.read(product, "f", n * n)
    gpu.free(a, b)
    result = {"size": n, "seconds": round(seconds, 6)}
    result.update(compare(found, n))
    return product, result


def compare(found, n):
    """Count wrong rows and wrong sampled elements of a product of our generated inputs.

    Works in 64ths, where everything is an integer. The row sums cover every element:
    (A B) 1 = A (B 1).
    """
    left = [cuda.value(i, SEED_A) for i in range(n * n)]
    right = [cuda.value(i, SEED_B) for i in range(n * n)]
    sums = [sum(right[k * n : k * n + n]) for k in range(n)]
    rows = 0
    for i in range(n):
        expected = sum(x * y for x, y in zip(left[i * n : i * n + n], sums))
        rows += sum(x * 64 for x in found[i * n : i * n + n]) != expected
    wrong = 0
    for sample in range(SAMPLES):
        i, j = sample * 7919 % n, sample * 104729 % n
        exact = sum(x * y for x, y in zip(left[i * n : i * n + n], right[j::n]))
        wrong += found[i * n + j] * 64 != exact
    return {"rows": n, "wrong_rows": rows, "samples": SAMPLES, "wrong_samples": wrong}
