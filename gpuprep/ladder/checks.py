"""The ladder: the one list of checks, as data.

The evaluation, the report, the documentation (``docs/checks.md``) and testinfra all read this list.
Ids are stable. What a check *means* is here; how it is judged is in ``rules_*.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpuprep.model import Tier
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["error", "warning"]

APPLY = "Run gpuprep apply for this host."
OPERATOR = "Cordon the host and open a case with the cloud provider; software cannot fix this."


class Check(Value, frozen=True):
    """One rung of the ladder.

    Attributes:
        id: stable id, ``<group>.<what>``.
        title: what holds when it passes, in a few words.
        failure: what is wrong when it fails or warns, in a few words.
        proves: what is known once it has passed.
        remedy: what to do when it fails.
        tier: the lowest tier that tries it; higher tiers try it too.
        severity: ``error`` fails the host, ``warning`` is only reported.
        needs_gpu: whether it can be tried on a host without an NVIDIA GPU.
        needs_module: whether the driver must run for it; implies needs_gpu.
        fixed_by_apply: whether applying the stack again can fix it. A failed check with False makes
            the host ``failed`` even when its plan is not empty.
        made_at_boot: whether a reboot makes it anew, and may therefore lose it.
        proof: whether it must have passed before anybody says ``ready``: a kernel ran, its
            results were right.
        looks_at: parts of the observation, ``probe.`` before those of the probe, whose times are
            the check's where its rule knows no other. Checks that look at the same share it.

    """

    id: str
    title: str
    failure: str
    proves: str
    remedy: str
    tier: Tier = Tier.QUICK
    severity: Severity = "error"
    needs_gpu: bool = False
    needs_module: bool = False
    fixed_by_apply: bool = False
    made_at_boot: bool = False
    proof: bool = False
    looks_at: tuple[str, ...] = ()


CHECKS: tuple[Check, ...] = (
    # --- the machine -------------------------------------------------------------------------
    Check(
        "pci.device",
        "NVIDIA GPU on the PCI bus",
        "No NVIDIA GPU on the PCI bus",
        "The kernel sees at least one NVIDIA GPU.",
        "Check that the instance's shape has GPUs; stop and start the instance. " + OPERATOR,
        looks_at=("pci",),
    ),
    Check(
        "pci.count",
        "As many GPUs as the shape promises",
        "Not as many GPUs as the shape promises",
        "No GPU has fallen off the bus and none was left out of the instance.",
        "Stop and start the instance once; if the GPU stays away: " + OPERATOR,
        needs_gpu=True,
        looks_at=("pci",),
    ),
    # --- kernel module -----------------------------------------------------------------------
    Check(
        "module.on_disk",
        "Driver module built for its kernel",
        "No driver module built for its kernel",
        "modprobe finds a module whose vermagic names the kernel that the driver is built for: the "
        "running one, unless gpu_driver_kernel names another.",
        APPLY + " It installs the headers and rebuilds the module.",
        fixed_by_apply=True,
        looks_at=("modules",),
    ),
    Check(
        "module.signed",
        "Driver module signed as Secure Boot wants it",
        "Driver module not signed as Secure Boot wants it",
        "The kernel, locked down by Secure Boot, will not reject the module for its signature.",
        APPLY + " It takes modules that the distribution signed, where there are some; a module "
        "that is built on the host needs a machine owner key (mokutil --import).",
        fixed_by_apply=True,
    ),
    Check(
        "module.next_boot",
        "Driver module built for the kernel of the next boot",
        "No driver module for the kernel of the next boot",
        "The next reboot, which starts the boot loader's default kernel, will not lose the GPU.",
        "Before the reboot, set gpu_driver_kernel to that kernel, or make another kernel the "
        "default. " + APPLY + " It builds the module, with a newer driver where that must be, or "
        "takes the one that the archive has ready for that kernel.",
        fixed_by_apply=True,
        looks_at=("kernel", "probe.modules"),
    ),
    Check(
        "module.loaded",
        "Driver module loaded",
        "Driver module not loaded",
        "The nvidia module runs in the kernel.",
        "modprobe nvidia, then read the kernel log for the reason; reboot when a module of another "
        "version was replaced.",
        needs_gpu=True,
        fixed_by_apply=True,
        made_at_boot=True,
        proof=True,
        looks_at=("modules", "driver"),
    ),
    Check(
        "nouveau.absent",
        "nouveau not loaded",
        "nouveau holds the GPU",
        "The GPU is not held by the open-source display driver.",
        APPLY + " It blacklists nouveau and rebuilds the initramfs; then reboot.",
        fixed_by_apply=True,
        made_at_boot=True,
        looks_at=("modules",),
    ),
    Check(
        "device.nodes",
        "Device nodes of every GPU",
        "Device nodes of GPUs missing",
        "/dev/nvidiactl and one /dev/nvidiaN per GPU exist.",
        "Run nvidia-modprobe -c 0, or start nvidia-persistenced.",
        needs_gpu=True,
        fixed_by_apply=True,
        made_at_boot=True,
        looks_at=("driver",),
    ),
    Check(
        "device.uvm",
        "Unified-memory device node",
        "Unified-memory device node missing",
        "/dev/nvidia-uvm exists; without it CUDA finds no device although nvidia-smi works.",
        "Run nvidia-modprobe -u -c 0, or start nvidia-persistenced.",
        needs_gpu=True,
        fixed_by_apply=True,
        made_at_boot=True,
        looks_at=("driver",),
    ),
    # --- one version everywhere --------------------------------------------------------------
    Check(
        "version.userspace",
        "Userspace libraries fit the loaded module",
        "Userspace libraries do not fit the loaded module",
        "libcuda and libnvidia-ml on disk have the version of the module in the kernel.",
        "Reboot (or unload and load the module) so that the kernel runs the installed version.",
        needs_gpu=True,
        fixed_by_apply=True,
        looks_at=("probe.nvml", "probe.libcuda"),
    ),
    Check(
        "version.packages",
        "Driver packages at one version, that of the module",
        "Driver packages at different versions",
        "No unattended upgrade has moved a part of the driver behind the running module.",
        APPLY + " It brings the packages to one version and holds them.",
        fixed_by_apply=True,
        looks_at=("packages",),
    ),
    Check(
        "fabric.version",
        "Fabric manager at the module's version",
        "Fabric manager at another version than the module",
        "The fabric manager will accept this driver.",
        APPLY + " It installs the fabric manager of exactly the driver's version.",
        needs_gpu=True,
        fixed_by_apply=True,
    ),
    Check(
        "fabric.modules",
        "Kernel modules of the fabric loaded",
        "Kernel modules of the fabric not loaded",
        "The modules over which the fabric manager leads the switches are in the kernel.",
        APPLY + " It loads them, now and at boot.",
        fixed_by_apply=True,
        made_at_boot=True,
        looks_at=("modules",),
    ),
    Check(
        "fabric.running",
        "NVSwitch fabric up",
        "NVSwitch fabric not up",
        "The fabric manager runs and every GPU has joined the fabric; without it CUDA error 802.",
        "systemctl restart nvidia-fabricmanager and read its journal.",
        needs_gpu=True,
        needs_module=True,
        fixed_by_apply=True,
        made_at_boot=True,
        looks_at=("units",),
    ),
    Check(
        "network.firewall",
        "Open for other GPU hosts",
        "Closed for other GPU hosts",
        "The packet filter lets in what other hosts of a cluster network send: NCCL and IMEX "
        "listen on ports of their own, which the rules of images reject.",
        "Accept the network of the cluster before the rule that rejects, `iptables -I INPUT -s "
        "NETWORK -j ACCEPT`, and keep that: /etc/iptables/rules.v4 on Ubuntu "
        "(netfilter-persistent save).",
        severity="warning",
        needs_gpu=True,
        looks_at=("firewall",),
    ),
    Check(
        "unit.running",
        "The driver's services run",
        "Services of the driver do not run",
        "Services of the stack are enabled and active.",
        "systemctl enable --now <unit>; read its journal when it stops again.",
        needs_gpu=True,
        fixed_by_apply=True,
        made_at_boot=True,
        looks_at=("units",),
    ),
    # --- management library ------------------------------------------------------------------
    Check(
        "nvml.answers",
        "The management library answers",
        "The management library does not answer",
        "NVML initialises within its deadline: the driver talks to the GPUs.",
        "A hang means a GPU or its firmware is stuck: reboot; if it returns: " + OPERATOR,
        needs_gpu=True,
        needs_module=True,
        proof=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "nvml.count",
        "Every GPU on the bus answers NVML",
        "GPUs on the bus that NVML does not see",
        "The driver has initialised all GPUs that PCI shows.",
        "Read the kernel log for the missing GPU's address; reboot. If it stays away: " + OPERATOR,
        needs_gpu=True,
        needs_module=True,
        proof=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "ecc.clean",
        "No uncorrected memory errors",
        "Uncorrected memory errors",
        "ECC has counted no uncorrected error since the driver was loaded.",
        "Drain the host and reset the GPU; if the count grows again: " + OPERATOR,
        needs_gpu=True,
        needs_module=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "memory.rows",
        "Memory row remapping healthy",
        "Memory row remapping failed or pending",
        "No row remapping has failed or waits for a reset.",
        "Pending: reset the GPU or reboot. Failed: " + OPERATOR,
        needs_gpu=True,
        needs_module=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "xid.clean",
        "No driver errors (Xid) in the kernel log",
        "Driver errors (Xid) in the kernel log",
        "Since boot no GPU has reported a hardware or driver error.",
        "Look the Xid up in NVIDIA's catalogue; reboot once. If it returns: " + OPERATOR,
        needs_gpu=True,
        looks_at=("probe.xid",),
    ),
    Check(
        "throttle.clean",
        "Not slowed down by heat or power faults",
        "Slowed down by heat or power faults",
        "No hardware slowdown, thermal slowdown or power brake is active.",
        "Check temperature and power in the evidence; " + OPERATOR,
        severity="warning",
        needs_gpu=True,
        needs_module=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "pcie.link",
        "PCIe link at full width",
        "PCIe link with fewer lanes than the GPU has",
        "Every GPU has all the lanes it was built with.",
        "Stop and start the instance to move it; if it stays: " + OPERATOR,
        severity="warning",
        needs_gpu=True,
        needs_module=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "persistence.on",
        "Persistence on",
        "Persistence off",
        "The driver keeps the GPUs initialised between programs.",
        "systemctl enable --now nvidia-persistenced.",
        severity="warning",
        needs_gpu=True,
        needs_module=True,
        fixed_by_apply=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "mig.layout",
        "MIG layout in place",
        "MIG layout missing or changed",
        "GPUs in MIG mode have instances, and the layout is the recorded one.",
        "MIG instances do not survive a reboot or reset: create them again "
        "(nvidia-smi mig -cgi ... -C) and let a boot service do so.",
        needs_gpu=True,
        needs_module=True,
        made_at_boot=True,
        looks_at=("probe.nvml",),
    ),
    Check(
        "cuda.driver_api",
        "The CUDA driver library suits the toolkit",
        "The CUDA driver library does not suit the toolkit",
        "libcuda loads and supports the major version of the toolkits on the host.",
        "Install a driver branch that supports the toolkit, or a toolkit of the driver's major.",
        needs_gpu=True,
        needs_module=True,
        fixed_by_apply=True,
        looks_at=("probe.libcuda",),
    ),
    # --- toolkit, cuDNN, conda: files and versions ----------------------------------------------
    Check(
        "toolkit.present",
        "CUDA toolkits installed",
        "CUDA toolkits missing",
        "Every wanted CUDA toolkit is on the host.",
        APPLY,
        fixed_by_apply=True,
        looks_at=("cuda",),
    ),
    Check(
        "toolkit.default",
        "/usr/local/cuda shows the wanted toolkit",
        "/usr/local/cuda does not show the wanted toolkit",
        "Builds that use /usr/local/cuda get the toolkit that was asked for.",
        "update-alternatives --set cuda /usr/local/cuda-<version>. " + APPLY,
        fixed_by_apply=True,
        looks_at=("cuda",),
    ),
    Check(
        "cudnn.agree",
        "cuDNN header and libraries agree",
        "cuDNN header and libraries differ",
        "Programs run with the cuDNN version that they are compiled for.",
        APPLY + " Remove a cuDNN copied by hand into the toolkit.",
        fixed_by_apply=True,
        looks_at=("cudnn",),
    ),
    Check(
        "conda.present",
        "Conda installed",
        "Conda missing or not as wanted",
        "The wanted conda is at its prefix and says its version.",
        APPLY,
        fixed_by_apply=True,
        looks_at=("conda",),
    ),
    # --- programs ---------------------------------------------------------------------------------
    Check(
        "toolkit.compiles",
        "nvcc compiles and links for this GPU",
        "nvcc cannot compile or link for this GPU",
        "The toolkit, the host compiler and the headers work together for the GPU's architecture.",
        "Read nvcc's message in the evidence: a host compiler too new for the toolkit or missing "
        "headers are the usual causes.",
        tier=Tier.FULL,
        fixed_by_apply=True,
    ),
    Check(
        "kernel.runs",
        "A compiled program runs on every GPU",
        "A compiled program does not run on every GPU",
        "A vector addition on each GPU equals the CPU's, element by element.",
        "Read the CUDA error in the evidence; 802 = fabric manager, 803 = driver and libraries "
        "differ, 999 = look for Xid in the kernel log.",
        tier=Tier.FULL,
        needs_gpu=True,
        needs_module=True,
        proof=True,
    ),
    Check(
        "gemm.correct",
        "Matrix products are right",
        "Matrix products are wrong or were not computed",
        "fp32, fp16 and bf16 matrix products on each GPU equal exact results from the CPU.",
        "A wrong product on a healthy driver is a broken GPU. " + OPERATOR,
        tier=Tier.FULL,
        needs_gpu=True,
        needs_module=True,
        proof=True,
    ),
    Check(
        "cudnn.runtime",
        "cuDNN's library is the header's version when loaded",
        "cuDNN does not load, or not the header's version",
        "The dynamic loader finds the cuDNN that programs are compiled for.",
        "Another libcudnn comes first in the loader's path: remove it or fix ld.so.conf.",
        tier=Tier.FULL,
        fixed_by_apply=True,
    ),
    Check(
        "cudnn.convolution",
        "A cuDNN convolution matches the CPU",
        "A cuDNN convolution failed or differs from the CPU",
        "cuDNN runs on this GPU and computes correctly.",
        "Read cuDNN's status in the evidence; NOT_SUPPORTED or ARCH_MISMATCH = this cuDNN has no "
        "kernels for the GPU's architecture.",
        tier=Tier.FULL,
        needs_gpu=True,
        needs_module=True,
    ),
    Check(
        "framework.arch",
        "Frameworks are built for this GPU",
        "Frameworks are not built for this GPU",
        "Every conda environment's framework lists the GPU's architecture.",
        "Install a build of the framework for a CUDA version that still supports this GPU.",
        tier=Tier.FULL,
        needs_gpu=True,
    ),
    Check(
        "framework.kernel",
        "Frameworks run a kernel",
        "Frameworks do not run a kernel",
        "In every conda environment with a framework a real kernel ran and its result is right.",
        "Read the environment's message in the evidence.",
        tier=Tier.FULL,
        needs_gpu=True,
        needs_module=True,
    ),
    Check(
        "framework.extensions",
        "Compiled extensions of frameworks load",
        "Compiled extensions of frameworks do not load",
        "Extensions such as torchvision's operators fit the framework beside them.",
        "Install extension and framework from one channel and for one CUDA version.",
        tier=Tier.FULL,
    ),
    # --- burn-in ----------------------------------------------------------------------------------
    Check(
        "burn.bandwidth",
        "Device memory bandwidth",
        "Device memory slower than its data sheet leads to expect",
        "Each GPU copies within its memory at the rate that its data sheet leads to expect.",
        "Compare with the other GPUs of the host: one slow GPU is broken. " + OPERATOR,
        tier=Tier.BURN_IN,
        needs_gpu=True,
        needs_module=True,
    ),
    Check(
        "burn.matrix",
        "Matrix throughput",
        "Matrix throughput below what the data sheet leads to expect",
        "Each GPU sustains the matrix rate that its data sheet leads to expect.",
        "Look at clocks, power and temperature in the evidence. " + OPERATOR,
        tier=Tier.BURN_IN,
        needs_gpu=True,
        needs_module=True,
    ),
    Check(
        "burn.stable",
        "Results stay the same under load",
        "Results change under load",
        "Repeated products under full load are bit for bit equal, copies arrive unchanged, and no "
        "memory error was counted.",
        "A GPU that computes differently under load is broken. " + OPERATOR,
        tier=Tier.BURN_IN,
        needs_gpu=True,
        needs_module=True,
    ),
    Check(
        "burn.peer",
        "GPUs reach each other",
        "GPUs do not reach each other",
        "Every pair of GPUs copies memory directly, without error and at a plausible rate.",
        "Check the fabric manager and nvidia-smi topo -m. " + OPERATOR,
        tier=Tier.BURN_IN,
        needs_gpu=True,
        needs_module=True,
    ),
    # --- after a reboot ---------------------------------------------------------------------------
    Check(
        "reboot.survived",
        "Survives a reboot",
        "Did not survive a reboot",
        "The host was rebooted after its last change, and the checks above were made since.",
        "Reboot the host and verify again.",
        severity="warning",
        looks_at=("probe.proof",),
    ),
)

BY_ID: Mapping[str, Check] = {check.id: check for check in CHECKS}
