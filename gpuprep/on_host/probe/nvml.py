"""What the management library (NVML) says, asked through its C interface.

Signatures and constants are those of nvml.h (CUDA 11 to 13); functions that an older library
lacks are left out of the answer instead of failing it.
"""

import ctypes
import os

SUCCESS = 0
NO_ATTACH = 2  # nvmlInitWithFlags: a GPU that cannot be initialised does not fail the others
NAME_SIZE = 96
MAX_MIG_DEVICES = 16


class _Memory(ctypes.Structure):
    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class _Pci(ctypes.Structure):
    _fields_ = [
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    ]


class _Fabric(ctypes.Structure):
    _fields_ = [
        ("cluster_uuid", ctypes.c_ubyte * 16),
        ("status", ctypes.c_int),
        ("clique_id", ctypes.c_uint),
        ("state", ctypes.c_ubyte),
    ]


class _MigAttributes(ctypes.Structure):
    _fields_ = [
        ("multiprocessors", ctypes.c_uint),
        ("copy_engines", ctypes.c_uint),
        ("decoders", ctypes.c_uint),
        ("encoders", ctypes.c_uint),
        ("jpeg", ctypes.c_uint),
        ("ofa", ctypes.c_uint),
        ("gpu_slices", ctypes.c_uint),
        ("compute_slices", ctypes.c_uint),
        ("memory_mib", ctypes.c_ulonglong),
    ]


class Nvml(object):
    """The library, with every call by name; a call gives its values or None."""

    def __init__(self, library):
        self.library = ctypes.CDLL(library)

    def status(self, name, *arguments):
        """Call and give NVML's status; None when the library has no such function."""
        function = getattr(self.library, name, None)
        if function is None:
            return None
        function.restype = ctypes.c_int
        return function(*arguments)

    def reason(self, status):
        """Return NVML's own words for a status."""
        function = self.library.nvmlErrorString
        function.restype = ctypes.c_char_p
        return "%s (%d)" % (function(status).decode("utf-8", "replace"), status)

    def text(self, name, *before):
        """Return a string that the library writes into a buffer."""
        buffer = ctypes.create_string_buffer(NAME_SIZE)
        if self.status(name, *((*before, buffer, ctypes.c_uint(NAME_SIZE)))) != SUCCESS:
            return None
        return buffer.value.decode("utf-8", "replace")

    def values(self, name, device, types, *before):
        """Return the numbers that the library writes through pointers."""
        cells = [kind() for kind in types]
        pointers = tuple(ctypes.byref(cell) for cell in cells)
        if self.status(name, device, *(before + pointers)) != SUCCESS:
            return None
        return [cell.value for cell in cells]

    def value(self, name, device, kind=ctypes.c_uint, *before):
        """Return one such number."""
        found = self.values(name, device, (kind,), *before)
        return None if found is None else found[0]


def collect(library):
    """Ask the library about the driver and every GPU. Runs in a child process."""
    try:
        nvml = Nvml(library)
    except OSError as error:
        return {"error": str(error), "missing": True}
    answer = {"library": loaded_path(library)}
    status = nvml.status("nvmlInitWithFlags", ctypes.c_uint(NO_ATTACH))
    if status is None:
        status = nvml.status("nvmlInit_v2")
    if status != SUCCESS:
        answer.update(error=nvml.reason(status), status=status)
        return answer
    answer["driver"] = nvml.text("nvmlSystemGetDriverVersion")
    answer["version"] = nvml.text("nvmlSystemGetNVMLVersion")
    cuda = ctypes.c_int()
    if nvml.status("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda)) == SUCCESS:
        answer["cuda"] = cuda.value
    count = ctypes.c_uint()
    status = nvml.status("nvmlDeviceGetCount_v2", ctypes.byref(count))
    if status != SUCCESS:
        answer.update(error=nvml.reason(status), status=status)
        return answer
    answer["gpus"] = [_gpu(nvml, index) for index in range(count.value)]
    return answer


def loaded_path(library):
    """Return the real path of a library that this process has mapped: ``libcuda.so.580.95.05``."""
    stem = os.path.basename(library).split(".so")[0] + ".so"
    with open("/proc/self/maps") as stream:
        for line in stream:
            path = line.split(None, 5)[-1].strip()
            if os.path.basename(path).startswith(stem):
                return path
    return None


def _gpu(nvml, index):
    device = ctypes.c_void_p()
    status = nvml.status(
        "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device)
    )
    if status != SUCCESS:
        return {"index": index, "error": nvml.reason(status), "status": status}
    gpu = {
        "index": index,
        "name": nvml.text("nvmlDeviceGetName", device),
        "uuid": nvml.text("nvmlDeviceGetUUID", device),
    }
    gpu.update(_address(nvml, device))
    _health(nvml, device, gpu)
    _link(nvml, device, gpu)
    _mig(nvml, device, gpu)
    fabric = _Fabric()
    if nvml.status("nvmlDeviceGetGpuFabricInfo", device, ctypes.byref(fabric)) == SUCCESS:
        gpu["fabric"] = {"state": fabric.state, "status": fabric.status}
    return gpu


def _address(nvml, device):
    pci = _Pci()
    if nvml.status("nvmlDeviceGetPciInfo_v3", device, ctypes.byref(pci)) != SUCCESS:
        return {"slot": None, "pci_id": None}
    return {
        "slot": "%04x:%02x:%02x.0" % (pci.domain, pci.bus, pci.device),
        "pci_id": "%04x:%04x" % (pci.device_id & 0xFFFF, pci.device_id >> 16),
    }


def _health(nvml, device, gpu):
    number = ctypes.c_ulonglong
    memory = _Memory()
    if nvml.status("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory)) == SUCCESS:
        gpu["memory_mib"] = memory.total >> 20
        gpu["memory_used_mib"] = memory.used >> 20
    gpu["compute_capability"] = _dotted(
        nvml.values("nvmlDeviceGetCudaComputeCapability", device, (ctypes.c_int, ctypes.c_int))
    )
    gpu["persistence"] = nvml.value("nvmlDeviceGetPersistenceMode", device)
    ecc = nvml.values("nvmlDeviceGetEccMode", device, (ctypes.c_uint, ctypes.c_uint))
    if ecc is not None:
        gpu["ecc"] = {"on": bool(ecc[0]), "pending": bool(ecc[1])}
        for name, kind, counter in (
            ("corrected", 0, 0),
            ("uncorrected", 1, 0),
            ("uncorrected_ever", 1, 1),
        ):
            gpu["ecc"][name] = nvml.value(
                "nvmlDeviceGetTotalEccErrors",
                device,
                number,
                ctypes.c_int(kind),
                ctypes.c_int(counter),
            )
    rows = nvml.values("nvmlDeviceGetRemappedRows", device, (ctypes.c_uint,) * 4)
    if rows is not None:
        names = ("corrected", "uncorrected", "pending", "failed")
        gpu["rows"] = dict(zip(names, rows))
    gpu["throttle"] = nvml.value("nvmlDeviceGetCurrentClocksThrottleReasons", device, number)
    gpu["temperature_c"] = nvml.value(
        "nvmlDeviceGetTemperature", device, ctypes.c_uint, ctypes.c_int(0)
    )
    gpu["power_mw"] = nvml.value("nvmlDeviceGetPowerUsage", device)
    gpu["power_limit_mw"] = nvml.value("nvmlDeviceGetEnforcedPowerLimit", device)


def _dotted(pair):
    return None if pair is None else "%d.%d" % tuple(pair)


def _link(nvml, device, gpu):
    gpu["pcie"] = {
        key: nvml.value("nvmlDeviceGet" + name, device)
        for key, name in (
            ("generation", "CurrPcieLinkGeneration"),
            ("width", "CurrPcieLinkWidth"),
            ("generation_max", "MaxPcieLinkGeneration"),
            ("width_max", "MaxPcieLinkWidth"),
        )
    }


def _mig(nvml, device, gpu):
    mode = nvml.values("nvmlDeviceGetMigMode", device, (ctypes.c_uint, ctypes.c_uint))
    if mode is None:
        return
    gpu["mig"] = {"on": bool(mode[0]), "pending": bool(mode[1]), "instances": []}
    if not mode[0]:
        return
    for index in range(MAX_MIG_DEVICES):
        instance = ctypes.c_void_p()
        status = nvml.status(
            "nvmlDeviceGetMigDeviceHandleByIndex",
            device,
            ctypes.c_uint(index),
            ctypes.byref(instance),
        )
        if status != SUCCESS:
            continue
        found = _MigAttributes()
        if nvml.status("nvmlDeviceGetAttributes_v2", instance, ctypes.byref(found)) == SUCCESS:
            profile = "%dg.%dmib" % (found.gpu_slices, found.memory_mib)
        else:
            profile = "unknown"
        gpu["mig"]["instances"].append(profile)
