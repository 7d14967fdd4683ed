"""Run our PTX on a GPU through the CUDA driver library alone: no compiler, no toolkit.

Signatures are those of cuda.h; every call is checked. A process uses one GPU, chosen by
CUDA_VISIBLE_DEVICES before the library is loaded.
"""

import array
import ctypes
import os

COMPUTE_MAJOR, COMPUTE_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
JIT_ERROR_BUFFER, JIT_ERROR_BUFFER_SIZE = 5, 6  # CU_JIT_ERROR_LOG_BUFFER, ..._SIZE_BYTES
BLOCK = 256
BLOCKS = 4096
MASK = 0xFFFFFFFF


class CudaError(Exception):
    """A call of the driver library failed."""


class Driver(object):
    """The CUDA driver library; calls raise CudaError with the name of the status."""

    def __init__(self, library="libcuda.so.1"):
        self.library = ctypes.CDLL(library)
        self("cuInit", ctypes.c_uint(0))

    def __call__(self, name, *arguments):
        """Call a function and check its status."""
        status = getattr(self.library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(status, ctypes.byref(text))
            words = text.value.decode() if text.value else "unknown"
            raise CudaError("%s: %s (%d)" % (name, words, status))

    def count(self):
        """How many GPUs this process may use."""
        number = ctypes.c_int()
        self("cuDeviceGetCount", ctypes.byref(number))
        return number.value


class Gpu(object):
    """One GPU with its primary context current in this process."""

    def __init__(self, driver, ordinal=0):
        self.driver = driver
        self.device = ctypes.c_int()
        driver("cuDeviceGet", ctypes.byref(self.device), ctypes.c_int(ordinal))
        self.context = ctypes.c_void_p()
        driver("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.device)
        self.use()
        self.functions = {}

    def use(self):
        """Make this GPU the current one."""
        self.driver("cuCtxSetCurrent", self.context)

    def capability(self):
        """Compute capability as (major, minor)."""
        numbers = []
        for attribute in (COMPUTE_MAJOR, COMPUTE_MINOR):
            number = ctypes.c_int()
            self.driver(
                "cuDeviceGetAttribute", ctypes.byref(number), ctypes.c_int(attribute), self.device
            )
            numbers.append(number.value)
        return tuple(numbers)

    def slot(self):
        """PCI address."""
        text = ctypes.create_string_buffer(32)
        self.driver("cuDeviceGetPCIBusId", text, ctypes.c_int(32), self.device)
        return text.value.decode().lower()

    def free_bytes(self):
        """Free memory."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def load(self, ptx):
        """Have the driver compile a PTX text and take its kernels."""
        module = ctypes.c_void_p()
        log = ctypes.create_string_buffer(4096)
        options = (ctypes.c_int * 2)(JIT_ERROR_BUFFER, JIT_ERROR_BUFFER_SIZE)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), len(log))
        try:
            self.driver(
                "cuModuleLoadDataEx",
                ctypes.byref(module),
                ctypes.c_char_p(ptx.encode()),
                ctypes.c_uint(2),
                options,
                values,
            )
        except CudaError as error:
            words = log.value.decode("utf-8", "replace")[:500]
            raise CudaError("%s %s" % (error, words)) from error
        for name in kernels_of(ptx):
            function = ctypes.c_void_p()
            self.driver(
                "cuModuleGetFunction",
                ctypes.byref(function),
                module,
                ctypes.c_char_p(name.encode()),
            )
            self.functions[name] = function

    def allocate(self, size):
        """Take device memory; gives its address."""
        pointer = ctypes.c_uint64()
        self.driver("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer

    def free(self, *pointers):
        """Give device memory back."""
        for pointer in pointers:
            self.driver("cuMemFree_v2", pointer)

    def launch(self, name, arguments, grid=(BLOCKS, 1), block=(BLOCK, 1)):
        """Start a kernel; arguments are ctypes values."""
        pointers = (ctypes.c_void_p * len(arguments))(
            *[ctypes.cast(ctypes.pointer(argument), ctypes.c_void_p) for argument in arguments]
        )
        shape = [ctypes.c_uint(n) for n in (grid[0], grid[1], 1, block[0], block[1], 1)]
        self.driver(
            "cuLaunchKernel",
            self.functions[name],
            *([*shape, ctypes.c_uint(0), ctypes.c_void_p(), pointers, ctypes.c_void_p()]),
        )

    def wait(self):
        """Wait until the GPU is idle."""
        self.driver("cuCtxSynchronize")

    def read(self, pointer, code, count):
        """Copy device memory into an array of a type code."""
        host = array.array(code, bytes(count * array.array(code).itemsize))
        address, _ = host.buffer_info()
        self.driver(
            "cuMemcpyDtoH_v2",
            ctypes.c_void_p(address),
            pointer,
            ctypes.c_size_t(count * host.itemsize),
        )
        return host

    def clear(self, pointer, words):
        """Fill device memory with zeros."""
        self.driver("cuMemsetD32_v2", pointer, ctypes.c_uint(0), ctypes.c_size_t(words))

    def timed(self, work):
        """Time what ``work`` starts on the GPU, with the GPU's own clock. Gives seconds."""
        start, end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (start, end):
            self.driver("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
        self.driver("cuEventRecord", start, ctypes.c_void_p())
        work()
        self.driver("cuEventRecord", end, ctypes.c_void_p())
        self.driver("cuEventSynchronize", end)
        elapsed = ctypes.c_float()
        self.driver("cuEventElapsedTime", ctypes.byref(elapsed), start, end)
        for event in (start, end):
            self.driver("cuEventDestroy_v2", event)
        return elapsed.value / 1000.0

    def differences(self, one, other, words):
        """Count the 32-bit words in which two buffers differ."""
        counter = self.allocate(4)
        self.clear(counter, 1)
        self.launch("differ", [one, other, ctypes.c_uint(words), counter])
        count = self.read(counter, "I", 1)[0]
        self.free(counter)
        return count


def kernels_of(ptx):
    """Names of the kernels in a PTX text."""
    return [
        line.split(".entry", 1)[1].strip().rstrip("(").strip()
        for line in ptx.splitlines()
        if line.startswith(".visible .entry")
    ]


def choose(visible):
    """Let this process see one GPU, by UUID or number. Before the library is loaded."""
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(visible)


def value(index, seed):
    """Return the input that the kernels generate, in eighths: an integer from -8 to 8."""
    x = (index * 2654435761 + seed * 40503 + 1) & MASK
    x ^= x >> 16
    x = x * 2246822519 & MASK
    x ^= x >> 13
    return x % 17 - 8
