"""The substitute repositories do on a real host what NVIDIA's and conda-forge's do."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import Lab

from gpuprep import catalog
from gpuprep.components import resolve
from gpuprep.model import DesiredStack, HostFacts, Stack
from gpuprep.packages.deb import DEB
from gpuprep.run import processes
from sandbox import bootstrap, hosts, servers
from sandbox.conda import content as conda_content
from sandbox.fleet import HostSpec
from sandbox.nvrepo import content
from sandbox.nvrepo.cuda import Toolkit
from sandbox.nvrepo.publish import SigningKey
from sandbox.paths import STATE

pytestmark = pytest.mark.sandbox

OLD, FIRST_580, LAST_580, NEW = content.DRIVERS
SYSTEMS = {"debian-12": "subst-12", "debian-13": "subst-13"}
AXPY = r"""
#include <cstdio>
__global__ void axpy(float a, const float *x, float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * sinf(x[i]);
}
int main() {
    int runtime = 0;
    cudaRuntimeGetVersion(&runtime);
    float *x = nullptr;
    cudaError_t allocated = cudaMalloc(&x, 64);
    axpy<<<1, 16>>>(2.f, x, x, 16);
    printf("%d %d\n", runtime, (int)allocated);
}
"""
CUDNN = r"""
#include <cudnn.h>
#include <stdio.h>
int main(void) {
    cudnnHandle_t handle;
    printf("%d %zu %d\n", CUDNN_VERSION, cudnnGetVersion(), (int)cudnnCreate(&handle));
    return 0;
}
"""

Shell = Callable[[str], str]


class CommandFailedError(AssertionError):
    """A command on a host failed."""


def shell(name: str) -> Shell:
    def run(command: str) -> str:
        script = f"export DEBIAN_FRONTEND=noninteractive; {command}"
        done = hosts.run(name, ["bash", "-o", "pipefail", "-ec", script], timeout=300)
        if done.returncode:
            raise CommandFailedError(
                f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    return run


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, object]]:
    """Variables of the repositories, served while this module's hosts run."""
    bootstrap.ensure()
    specs = [HostSpec(name, system) for system, name in SYSTEMS.items()]
    hosts.start_all(specs, "subst")
    variables = servers.ensure()
    for name in SYSTEMS.values():
        hosts.add_apt_source(name, "sandbox-kernel", str(variables["headers_source"]))
    yield variables
    hosts.stop_all(SYSTEMS.values())


@pytest.fixture(scope="module", params=SYSTEMS)
def on_host(request: pytest.FixtureRequest, served: dict[str, object]) -> Shell:
    """A host that trusts the substitute repository by its key's file."""
    run = shell(SYSTEMS[request.param])
    distribution = request.param.replace("-", "")
    directory = f"{served['gpuprep_mirror']}/{distribution}/x86_64"
    key = content.distributions()[distribution]
    run(
        f"curl -fsS {directory}/{key} -o /etc/apt/trusted.asc; "
        f"printf 'Types: deb\nURIs: {directory}/\nSuites: /\nSigned-By: /etc/apt/trusted.asc\n'"
        " > /etc/apt/sources.list.d/nvidia.sources; apt-get update"
    )
    return run


@pytest.fixture
def kernel(on_host: Shell) -> str:
    """The kernel that the host says it runs."""
    return on_host("uname -r").strip()


def remove_driver(run: Shell) -> None:
    names = ("nvidia", "cuda-drivers", "linux-headers")
    pattern = ",".join(f"?name({name})" for name in names)
    run(f"apt-get purge -y --auto-remove '?and(?installed,?or({pattern}))'")


def test_the_key_is_the_one_the_inventory_names(on_host: Shell, served: dict[str, object]) -> None:
    shown = on_host("gpg --show-keys --with-colons /etc/apt/trusted.asc")
    assert f"fpr:::::::::{served['gpuprep_mirror_fingerprint']}:" in shown


def test_another_key_is_refused(on_host: Shell) -> None:
    other = "/var/lib/other"
    on_host(
        f"mkdir -p {other}/lists/partial; mkdir -m 700 {other}/gnupg;"
        f" gpg --homedir {other}/gnupg --batch --passphrase '' --quick-gen-key x ed25519;"
        f" gpg --homedir {other}/gnupg --armor --export > {other}/key.asc;"
        f" sed 's,/etc/apt/trusted.asc,{other}/key.asc,' /etc/apt/sources.list.d/nvidia.sources"
        f" > {other}/nvidia.sources"
    )
    places = f"-o Dir::Etc::sourcelist={other}/nvidia.sources -o Dir::State::lists={other}/lists"
    answer = on_host(f"! apt-get update -o Dir::Etc::sourceparts=- {places} 2>&1; rm -rf {other}")
    assert re.search(r"NO_PUBKEY|Missing key", answer)


def test_without_a_pin_the_newest_branch_is_taken_and_an_older_one_does_not_install(
    on_host: Shell,
) -> None:
    remove_driver(on_host)
    assert f"nvidia-open ({NEW.package_version} " in on_host("apt-get install -s -y nvidia-open")
    unpinned = on_host("! apt-get install -s -y nvidia-open-580 2>&1")
    assert f"nvidia-driver (= {LAST_580.package_version})" in unpinned


def test_a_pinned_driver_installs_as_a_whole_and_lays_its_modules_down(
    on_host: Shell, kernel: str
) -> None:
    remove_driver(on_host)
    on_host("apt-get install -y nvidia-driver-pinning-580")
    on_host(
        f"apt-get install -y linux-headers-{kernel.lower()} nvidia-open-580 nvidia-fabricmanager"
    )
    listed = on_host("dpkg-query -W -f '${source:Package} ${Version} ${db:Status-Status}\n'")
    versions = {
        line.split()[1]
        for line in listed.splitlines()
        if re.match(r"nvidia-(graphics|fabric|open|persist|modprobe|settings)", line)
    }
    assert versions == {LAST_580.package_version}
    for module in ("nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm"):
        info = on_host(f"modinfo -k {kernel} {module}")
        fields = dict(re.findall(r"^(\w+):\s+(.*)$", info, re.MULTILINE))
        assert fields["version"] == LAST_580.version
        assert fields["vermagic"].split()[0] == kernel
        assert fields["license"] == "Dual MIT/GPL"
        assert fields["filename"] == f"/lib/modules/{kernel}/updates/dkms/{module}.ko"
    on_host(f"test -d /var/lib/dkms/nvidia/{LAST_580.version}/{kernel}/x86_64/module")


def test_a_full_pin_chooses_the_older_release_and_a_purge_leaves_no_module(
    on_host: Shell, kernel: str
) -> None:
    remove_driver(on_host)
    on_host(f"apt-get install -y nvidia-driver-pinning-{FIRST_580.version}")
    on_host(f"apt-get install -y linux-headers-{kernel.lower()} cuda-drivers-580")
    info = on_host(f"modinfo -k {kernel} -F version nvidia; modinfo -k {kernel} -F license nvidia")
    assert info.split() == [FIRST_580.version, "NVIDIA"]
    on_host("apt-get purge -y nvidia-kernel-dkms")
    assert "not found" in on_host(f"! modinfo -k {kernel} nvidia 2>&1")
    on_host("! test -e /var/lib/dkms/nvidia")


def test_modules_wait_for_headers(on_host: Shell, kernel: str) -> None:
    remove_driver(on_host)
    on_host("apt-get install -y nvidia-driver-pinning-580")
    said = on_host("apt-get install -y nvidia-kernel-open-dkms")
    assert f"Module build for kernel {kernel} was skipped" in said
    on_host(f"! modinfo -k {kernel} nvidia")
    on_host(f"apt-get install -y linux-headers-{kernel.lower()}")
    assert on_host(f"modinfo -k {kernel} -F version nvidia").strip() == LAST_580.version


def test_tools_and_libraries_answer_as_without_a_gpu(on_host: Shell) -> None:
    remove_driver(on_host)
    on_host("apt-get install -y nvidia-driver-pinning-580; apt-get install -y nvidia-driver-cuda")
    assert "couldn't communicate" in on_host("set +e; nvidia-smi; test $? = 9")
    answers = on_host(
        'python3 -c \'import ctypes as c; cuda, ml = c.CDLL("libcuda.so.1"),'
        ' c.CDLL("libnvidia-ml.so.1"); v = c.c_int(); ml.nvmlErrorString.restype = c.c_char_p;'
        " print(cuda.cuDriverGetVersion(c.byref(v)), v.value, cuda.cuInit(0), ml.nvmlInit_v2(),"
        " ml.nvmlErrorString(9).decode())'"
    )
    assert answers.strip() == f"0 {LAST_580.cuda} 100 9 Driver Not Loaded"


def test_the_persistence_daemon_runs_and_fabric_manager_waits_to_be_enabled(
    on_host: Shell,
) -> None:
    remove_driver(on_host)
    on_host("apt-get install -y nvidia-driver-pinning-580")
    on_host("apt-get install -y nvidia-persistenced nvidia-fabricmanager")
    unit = "nvidia-persistenced"
    assert on_host(f"systemctl is-active {unit}; systemctl is-enabled {unit}").split() == [
        "active",
        "enabled",
    ]
    unit = "nvidia-fabricmanager"
    shown = on_host(f"systemctl is-active {unit} || true; systemctl is-enabled {unit} || true")
    assert shown.split() == ["inactive", "disabled"]
    on_host(f"systemctl enable --now {unit}; systemctl is-active {unit}")
    assert LAST_580.version in on_host("nv-fabricmanager --version")


@pytest.mark.parametrize("kit", content.TOOLKITS, ids=lambda kit: kit.short)
def test_every_toolkit_compiles_links_and_runs_a_program(on_host: Shell, kit: Toolkit) -> None:
    on_host(f"apt-get install -y {kit.named('cuda-toolkit')}")
    on_host(f"cat > /root/axpy.cu <<'END'{AXPY}END")
    assert f"V{kit.nvcc}" in on_host(f"/{kit.home}/bin/nvcc --version")
    arch = "70" if kit.front_end else "86"
    number = int(kit.major) * 1000 + int(kit.short.partition(".")[2]) * 10
    library = f"LD_LIBRARY_PATH=/{kit.home}/lib64"
    for linked in ("static", "shared"):
        nvcc = f"/{kit.home}/bin/nvcc -arch=sm_{arch} -cudart={linked}"
        on_host(f"rm -f /root/axpy; {nvcc} -o /root/axpy /root/axpy.cu")
        runtime, allocated = on_host(f"{library} /root/axpy").split()
        assert int(runtime) == number
        assert int(allocated) != 0, "there is no GPU to allocate memory on"
    assert f"libcudart.so.{kit.major} => /usr/local/cuda" in on_host("ldd /root/axpy")
    on_host(f"{nvcc} -rdc=true -o /root/axpy /root/axpy.cu")
    on_host(f"/{kit.home}/bin/nvcc -arch=sm_{arch} -cubin -o /root/axpy.cubin /root/axpy.cu")
    flags = on_host("readelf -h /root/axpy.cubin | grep Flags").split()[-1]
    assert int(arch) in {int(flags, 16) & 0xFF, int(flags, 16) >> 8 & 0xFF}


def test_the_newest_toolkit_takes_the_alternative(on_host: Shell) -> None:
    oldest, newest = content.TOOLKITS[0], content.TOOLKITS[-1]
    on_host(f"apt-get install -y {newest.named('cuda-toolkit')}")
    on_host(f"apt-get install -y {oldest.named('cuda-toolkit')}")
    assert on_host("readlink -f /usr/local/cuda").strip() == f"/{newest.home}"
    twelve = [kit for kit in content.TOOLKITS if kit.major == "12"]
    on_host(f"apt-get install -y {twelve[-1].named('cuda-toolkit')}")
    assert on_host("readlink -f /usr/local/cuda-12").strip() == f"/{twelve[-1].home}"


@pytest.mark.parametrize("branch", ["570", "595"])  # 580: every other test that installs
def test_what_the_resolver_chooses_for_a_branch_installs(
    on_host: Shell, kernel: str, branch: str
) -> None:
    remove_driver(on_host)
    on_host("apt-get purge -y '?and(?installed,?name(cudnn))'")
    system = on_host(". /etc/os-release; echo $ID-$VERSION_ID").strip()
    facts = HostFacts(gpus=("10de:2236",), os=system, kernel=kernel)
    stack = resolve(facts, DesiredStack(branch=branch), catalog.load())
    assert isinstance(stack, Stack)
    on_host(f"cat > /etc/apt/preferences.d/branch <<'END'\n{DEB.preferences(stack)}\nEND")
    for early in (True, False):
        names = [
            package.name if package.version is None else f"{package.name}={package.version}"
            for package in stack.packages
            if package.pre_install == early
        ]
        if names:
            on_host(f"apt-get install -y linux-headers-{kernel.lower()} {' '.join(names)}")
    on_host("rm /etc/apt/preferences.d/branch")
    latest = catalog.load().branches[branch].latest
    assert on_host(f"modinfo -k {kernel} -F version nvidia").strip() == latest
    assert stack.cuda[0].version == catalog.load().branches[branch].native_cuda
    assert f"release {stack.cuda[0].version}" in on_host(
        f"/usr/local/cuda-{stack.cuda[0].version}/bin/nvcc --version"
    )
    on_host('apt-get check; test -z "$(dpkg --audit)"')


def test_a_c_program_links_cudnn_and_learns_its_version(on_host: Shell) -> None:
    on_host("apt-get install -y cuda-toolkit-12-9")
    on_host(f"cat > /root/version.c <<'END'{CUDNN}END")
    compiled = "gcc -I/usr/local/cuda-12.9/include /root/version.c -o /root/version -lcudnn"
    names = [f"libcudnn9{kind}-cuda-12=9.10.2.21-1" for kind in ("", "-dev", "-headers")]
    on_host(f"apt-get install -y --allow-downgrades {' '.join(names)}")
    assert on_host(f"{compiled}; /root/version").split() == ["91002", "91002", "1001"]
    on_host("apt-get install -y libcudnn8-dev=8.9.7.29-1+cuda12.2")
    on_host("update-alternatives --set libcudnn /usr/include/x86_64-linux-gnu/cudnn_v8.h")
    assert on_host(f"{compiled}; /root/version").split() == ["8907", "8907", "1"]
    on_host("apt-get purge -y '?and(?installed,?name(cudnn))'")
    on_host("! test -e /usr/include/cudnn.h")


def test_conda_is_installed_used_and_upgraded_in_place(
    on_host: Shell, served: dict[str, object]
) -> None:
    on_host("rm -rf /opt/conda /root/.conda")
    mirror, alias = served["conda_mirror"], served["conda_channel_alias"]
    older, newest = conda_content.RELEASES[0], conda_content.RELEASES[-1]

    def installer(version: str) -> str:
        name = f"Miniforge3-{version}-Linux-x86_64.sh"
        on_host(f"cd /root; curl -fsSO {mirror}/{version}/{name}")
        on_host(f"cd /root; curl -fsS {mirror}/{version}/{name}.sha256 | sha256sum --check")
        return f"/root/{name}"

    on_host(f"bash {installer(older.version)} -b -p /opt/conda")
    assert on_host("/opt/conda/bin/conda --version").strip() == f"conda {older.conda}"
    path = installer(newest.version)
    assert str(served["conda_installer_sha256"]) in on_host(f"sha256sum {path}")
    assert "already exists" in on_host(f"! bash {path} -b -p /opt/conda 2>&1")
    on_host(f"bash {path} -b -u -p /opt/conda")
    assert on_host("/opt/conda/bin/conda --version").strip() == f"conda {newest.conda}"

    on_host(f"printf 'channels: [conda-forge]\nchannel_alias: {alias}\n' > /opt/conda/.condarc")
    on_host("/opt/conda/bin/conda create -y -q -n tools numpy=2.2 requests")
    imported = "import numpy, requests, sys; print(numpy.__version__, sys.prefix)"
    run = "/opt/conda/bin/conda run -n tools python -c"
    assert on_host(f"{run} '{imported}'").split() == ["2.2.6", "/opt/conda/envs/tools"]
    on_host("printf 'dependencies:\n  - python=3.12\n  - numpy\n' > /root/env.yml")
    on_host("/opt/conda/bin/conda env update --prune -q -n tools -f /root/env.yml")
    listed = json.loads(on_host("/opt/conda/bin/conda list -n tools --json"))
    versions = {row["name"]: row["version"] for row in listed}
    assert "requests" not in versions
    assert versions["python"].startswith("3.12.")

    on_host("/opt/conda/bin/conda list -n tools --explicit > /root/lock.txt")
    name = on_host("hostname").strip()
    before = len(Lab.requests(name))
    on_host("/opt/conda/bin/conda create -y -q -n copy --file /root/lock.txt")
    asked = Lab.requests(name)[before:]
    assert asked
    assert not [path for path in asked if "repodata" in path], "a lock file needs no solving"
    on_host("sed -i 's/#..../#0000/' /root/lock.txt")
    refused = on_host("! /opt/conda/bin/conda create -y -n bad --file /root/lock.txt 2>&1")
    assert "ChecksumMismatchError" in refused
    refused = on_host("! /opt/conda/bin/conda create -y -n bad numpy=99 2>&1")
    assert "numpy 99.*" in refused

    on_host("sudo -u ops /opt/conda/bin/conda create -y -q -n mine tqdm")
    assert "/home/ops/.conda/envs/mine" in on_host("sudo -u ops /opt/conda/bin/conda env list")


def test_an_installer_cannot_unpack_where_programs_may_not_run(
    on_host: Shell, served: dict[str, object]
) -> None:
    version = conda_content.RELEASES[-1].version
    name = f"Miniforge3-{version}-Linux-x86_64.sh"
    on_host(f"cd /root; curl -fsSO {served['conda_mirror']}/{version}/{name}")
    noexec = on_host("findmnt -rno TARGET -t tmpfs -O noexec | grep shm").strip()
    answer = on_host(f"! TMPDIR={noexec} bash /root/{name} -b -p /opt/other 2>&1")
    assert "Permission denied" in answer
    on_host("! test -e /opt/other/bin; rm -rf /opt/other")


def test_a_second_call_builds_nothing(served: dict[str, object]) -> None:
    before = published()
    assert servers.ensure() == served
    assert published() == before


def published() -> dict[Path, int]:
    """Every file of the repositories, with its time of change; further mirrors are not theirs."""
    roots = ("compute", "conda-forge", "kernel", "miniforge")
    found = (path for root in roots for path in (STATE / "www" / root).rglob("*"))
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}


@pytest.mark.usefixtures("served")  # installs the tools
def test_signing_leaves_no_agent_behind(tmp_path: Path) -> None:
    release = tmp_path / "Release"
    release.write_text("Origin: test\n")
    SigningKey.ensure(tmp_path / "home").sign(release)
    assert "BEGIN PGP SIGNED MESSAGE" in (tmp_path / "InRelease").read_text()
    deadline = time.monotonic() + 10
    while processes.belonging_to(tmp_path / "home") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes.belonging_to(tmp_path / "home") == ()
