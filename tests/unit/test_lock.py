"""The lock file: written from a plan, installed exactly, refused with the difference."""

from __future__ import annotations

import base64
import gzip
import re
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from planner_cases import bare, observed

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.components.differences import Differences, VersionLock, diff_packages
from gpuprep.components.state import PackageRequest
from gpuprep.errors import ConfigError
from gpuprep.lock.lockfile import (
    LockFile,
    lock_document,
    newer_than,
    read_lock,
    resolve_locked,
)
from gpuprep.lock.repository_index import PackageIndex, index_of
from gpuprep.model import (
    DesiredStack,
    Family,
    HostFacts,
    HostResult,
    HostStatus,
    Package,
    Refusal,
    Repository,
    SigningKey,
    Stack,
)
from gpuprep.observe.observation import InstalledPackage
from gpuprep.packages import FAMILIES
from gpuprep.planner import plan_host, settings_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.planner.plan import Resolver

CATALOG = load()
SETTING = DesiredStack(as_of="2026-11-20")
A10 = HostFacts(("10de:2236",), "debian-12", kernel="6.1.0-50-amd64")
V100 = HostFacts(("10de:1db1",) * 8, "debian-13", kernel="6.12.0-1-amd64")
OFFER = {
    "nvidia-open-580": ("580.95.05-1", "580.178.04-1"),
    "cuda-drivers-580": ("580.95.05-1", "580.178.04-1"),
    "cuda-toolkit-13-0": ("13.0.1-1", "13.0.2-1"),
    "cuda-toolkit-12-9": ("12.9.1-1",),
    "cudnn9-cuda-13": ("9.20.0.48-1", "9.28.0.42-1"),
    "libcudnn9-cuda-13": ("9.20.0.48-1", "9.28.0.42-1"),
    "libcudnn9-dev-cuda-13": ("9.20.0.48-1", "9.28.0.42-1"),
    "libcudnn9-headers-cuda-13": ("9.20.0.48-1", "9.28.0.42-1"),
    "cuda-nvcc-13-0": ("13.0.85-1", "13.0.88-1"),
    "nvidia-driver-cuda": ("580.95.05-1", "580.178.04-1", "595.91.07-1"),
    "nvidia-modprobe": ("580.95.05-1", "595.91.07-1"),
}
DEPENDS = {
    ("cuda-toolkit-13-0", "13.0.2-1"): "cuda-nvcc-13-0 (>= 13.0.85), gcc | cc",
    ("cuda-toolkit-13-0", "13.0.3-1"): "cuda-nvcc-13-0 (>= 13.0.88)",
    ("nvidia-open-580", "580.178.04-1"): "nvidia-driver-cuda (>= 580.95.05-1)",
    ("nvidia-open-580", "580.95.05-1"): "nvidia-driver-cuda (>= 580.95.05-1)",
    ("nvidia-driver-cuda", "580.95.05-1"): "nvidia-modprobe (= 580.95.05-1)",
}


def planned(facts: HostFacts, name: str = "h", **versions: str) -> HostResult:
    stack = resolve(facts, SETTING, CATALOG)
    assert isinstance(stack, Stack)
    return HostResult(name, HostStatus.DRIFTED, stack=stack, facts=facts, versions=versions)


def offer(repository: Repository) -> PackageIndex:
    assert repository.url.startswith("https://")
    return PackageIndex(OFFER, DEPENDS)


def written(*hosts: HostResult) -> LockFile:
    return lock_document(hosts, CATALOG, offer)


def test_every_package_of_the_repository_has_an_exact_version() -> None:
    (locked,) = written(planned(A10)).classes
    assert locked.driver == "580.178.04"
    assert locked.packages["nvidia-open-580"] == "580.178.04-1"
    assert locked.packages["cuda-toolkit-13-0"] == "13.0.2-1"
    assert locked.packages["libcudnn9-cuda-13"] == "9.28.0.42-1"
    assert not any(name.startswith("linux-headers") for name in locked.packages)
    assert locked.conda == planned(A10).stack.conda  # type: ignore[union-attr]
    assert locked.key == CATALOG.systems["debian-12"].key.fingerprint


def test_what_the_packages_need_is_fixed_too() -> None:
    (locked,) = written(planned(A10, driver="580.95.05")).classes
    assert locked.requires == {
        "cuda-nvcc-13-0": "13.0.88-1",
        "nvidia-driver-cuda": "580.95.05-1",
        "nvidia-modprobe": "580.95.05-1",
    }
    assert not locked.requires.keys() & locked.packages.keys()


def test_an_installed_driver_that_fits_stays_at_its_version() -> None:
    (locked,) = written(planned(A10, driver="580.95.05")).classes
    assert (locked.driver, locked.packages["nvidia-open-580"]) == ("580.95.05", "580.95.05-1")
    (other,) = written(planned(A10, driver="535.1.1")).classes
    assert other.driver == "580.178.04"


def test_hosts_of_one_class_share_an_entry_and_refused_ones_have_none() -> None:
    refused = HostResult("r", HostStatus.REFUSED, error="no")
    lock = written(planned(A10, "a"), planned(A10, "b"), refused, planned(V100, "c"))
    assert [c.hosts for c in lock.classes] == [("a", "b"), ("c",)]


def test_the_file_comes_back_as_it_was(tmp_path: Path) -> None:
    lock = written(planned(A10), planned(V100))
    path = tmp_path / "lock.yml"
    path.write_text(lock.to_text())
    assert read_lock(path) == lock


def test_the_login_of_a_mirror_is_in_no_lock_file() -> None:
    mirror, conda = "https://bot:Sesame@m/nv", "https://Mellon@m/conda"
    stack = resolve(A10, replace(SETTING, mirror=mirror, conda_mirror=conda), CATALOG)
    assert isinstance(stack, Stack)
    text = written(replace(planned(A10), stack=stack)).to_text()
    assert "https://m/nv/" in text
    assert "https://m/conda/" in text
    for word in ("bot", "Sesame", "Mellon", "@m"):
        assert word not in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "cannot be read"),
        ("schema: 7", "schema 1 expected"),
        ("schema: 1\ncatalog: x", "'classes' is missing"),
        ("schema: 1\ncatalog: x\nclasses: [3]", r"classes\[0\]: expected an object, found int"),
        ("schema: 1\ncatalog: 2026-11-20\nclasses: []", "catalog: expected str, found date"),
        ("schema: 1\ncatalog: 2026-99-99\nclasses: []", "cannot be read"),
        ("schema: 1\ncatalog: " + "[" * 5000, "cannot be read"),
        ("schema: 1\ncatalog: x\nclasses: []\n", "is cut off"),
        ("schema: 1\ncatalog: x\nclasses: [{os: a, arch: b, gpus: [], bogus: 1}]", "bogus"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "lock.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_lock(path)


ODD: tuple[Any, ...] = (
    None,
    True,
    7,
    1.5,
    "",
    "\n",
    "-x",
    "../x",
    "a b",
    "{{ x }}",
    [],
    ["x"],
    [None],
    {},
    {"a": 1},
    {1: "a"},
)


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Return every container of a document with each of its keys."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(pairs):
        yield data, key
        if isinstance(value, dict | list):
            yield from places(value)


def test_a_tampered_file_is_refused_or_means_something(tmp_path: Path) -> None:
    """Whatever stands in any place, nothing but a refusal or a stack becomes of it."""
    path = tmp_path / "lock.yml"
    data = yaml.safe_load(written(planned(A10)).to_text())
    refused = 0
    for container, key in list(places(data)):
        kept = container[key]
        for odd in ODD:
            container[key] = odd
            path.write_text(yaml.safe_dump(data, explicit_end=True))
            try:
                lock = read_lock(path)
            except ConfigError as error:
                refused += 1
                assert str(path) in str(error)  # noqa: PT017 - most are, not all
            else:
                assert isinstance(resolve_locked(A10, SETTING, CATALOG, lock), Stack | Refusal)
                newer_than(lock, CATALOG, lambda _: PackageIndex(OFFER))
        container[key] = kept
    assert refused > 300


def test_a_file_that_is_cut_off_is_refused_wherever(tmp_path: Path) -> None:
    path = tmp_path / "lock.yml"
    lines = written(planned(A10), planned(V100)).to_text().splitlines(keepends=True)
    for number in range(len(lines)):
        for text in ("".join(lines[:number]), "".join(lines[:number]) + lines[number][:-4]):
            path.write_text(text)
            with pytest.raises(ConfigError, match=re.escape(str(path))):
                read_lock(path)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/", "/nowhere", "x" * 300])
def test_what_is_no_file_is_no_lock_file(path: str) -> None:
    with pytest.raises(ConfigError, match="lock file"):
        read_lock(Path(path))


def test_a_missing_package_stops_the_writing() -> None:
    with pytest.raises(ConfigError, match="cudnn9-cuda-13 is not in"):
        lock_document(
            [planned(A10)], CATALOG, lambda _: PackageIndex({**OFFER, "cudnn9-cuda-13": ()})
        )


def test_a_locked_host_gets_exactly_the_locked_versions_although_newer_ones_exist() -> None:
    lock = written(planned(A10, driver="580.95.05"))
    stack = resolve_locked(A10, SETTING, CATALOG, lock)
    assert isinstance(stack, Stack)
    assert stack.driver_version == "580.95.05"
    versions = {p.name: p.version for p in stack.packages if p.origin == "nvidia"}
    assert versions.pop("nvidia-driver-pinning-580.95.05") is None
    assert versions == dict(lock.classes[0].packages)


def test_a_new_kernel_does_not_break_the_lock() -> None:
    lock = written(planned(A10))
    assert isinstance(
        resolve_locked(replace(A10, kernel="6.1.0-99-amd64"), SETTING, CATALOG, lock), Stack
    )


def test_a_locked_driver_that_the_kernel_does_not_build_is_refused_not_replaced() -> None:
    lock = written(planned(A10, driver="580.95.05"))
    newer = replace(A10, kernel="6.1.0-57-amd64")
    refusal = resolve_locked(newer, SETTING, CATALOG, lock)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "E_LOCK_KERNEL"
    for words in ("580.95.05 with open", "6.1.0-57-amd64", "from 580.126.09 on", "again"):
        assert words in refusal.message
    own = resolve_locked(newer, replace(SETTING, version="580.95.05"), CATALOG, lock)
    assert isinstance(own, Refusal)
    assert own.code == "E_DRIVER_KERNEL"  # the version is the user's


def test_a_driver_that_the_kernel_does_not_build_is_not_locked() -> None:
    newer = replace(A10, kernel="6.1.0-57-amd64")
    (locked,) = written(planned(newer, driver="580.95.05")).classes
    assert (locked.driver, locked.flavour) == ("580.178.04", "open")
    (locked,) = written(planned(A10, driver="580.95.05")).classes
    assert locked.driver == "580.95.05"


def test_the_lock_survives_a_catalog_with_another_default_branch_and_installer() -> None:
    lock = written(planned(A10))
    later = replace(
        CATALOG,
        channels={"lts": ("595",), "pb": ("595",)},
        conda=replace(
            CATALOG.conda,
            default="26.3.2-3",
            releases={"26.3.2-3": CATALOG.conda.releases["26.3.2-3"]},
        ),
    )
    assert resolve(A10, SETTING, later).branch == "595"  # type: ignore[union-attr]
    stack = resolve_locked(A10, SETTING, later, lock)
    assert isinstance(stack, Stack)
    assert (stack.branch, stack.conda) == ("580", lock.classes[0].conda)


@pytest.mark.parametrize(
    ("setting", "code", "difference"),
    [
        ({"version": "580.95.05"}, "E_LOCK_DIFFERS", "driver is locked at 580.178.04"),
        ({"flavour": "proprietary"}, "E_LOCK_MISSING", "cuda-drivers-580"),
        ({"cuda": ("12.9",)}, "E_LOCK_MISSING", "cuda-toolkit-12-9"),
        ({"branch": "595"}, "E_DRIVER_VERSION", "595"),
        ({"conda_version": "26.3.2-3"}, "E_LOCK_DIFFERS", "conda is locked at"),
        (
            {"mirror": "http://m", "mirror_fingerprint": "B" * 40},
            "E_LOCK_DIFFERS",
            "repository key",
        ),
    ],
)
def test_a_setting_that_is_not_locked_is_refused_with_the_difference(
    setting: dict[str, object], code: str, difference: str
) -> None:
    outcome = resolve_locked(A10, replace(SETTING, **setting), CATALOG, written(planned(A10)))  # type: ignore[arg-type]
    assert isinstance(outcome, Refusal)
    assert outcome.code == code
    assert difference in outcome.message


def test_a_host_that_was_not_there_is_refused_by_its_class() -> None:
    outcome = resolve_locked(V100, SETTING, CATALOG, written(planned(A10)))
    assert isinstance(outcome, Refusal)
    assert (outcome.code, "debian-13 x86_64 10de:1db1" in outcome.message) == ("E_LOCK_CLASS", True)


def test_check_names_newer_versions_and_keeps_the_driver_in_its_branch() -> None:
    lock = written(planned(A10, driver="580.95.05"))
    newest = {
        **OFFER,
        "cuda-toolkit-13-0": ("13.0.2-1", "13.0.3-1"),
        "cuda-nvcc-13-0": ("13.0.88-1", "13.0.99-1"),
        "nvidia-open-580": (*OFFER["nvidia-open-580"], "595.1.1-1"),
    }
    found = {
        (n.name, n.locked, n.newest)
        for n in newer_than(lock, CATALOG, lambda _: PackageIndex(newest))
    }
    assert found == {
        ("nvidia-open-580", "580.95.05-1", "580.178.04-1"),
        ("nvidia-driver-cuda", "580.95.05-1", "580.178.04-1"),
        ("cuda-toolkit-13-0", "13.0.2-1", "13.0.3-1"),
        ("cuda-nvcc-13-0", "13.0.88-1", "13.0.99-1"),
    }
    assert newer_than(written(planned(A10)), CATALOG, offer) == ()


def test_check_names_no_cudnn_that_dropped_the_gpu() -> None:
    pinned = {
        f"libcudnn9{part}-cuda-12": ("9.10.2.21-1", "9.28.0.42-1")
        for part in ("", "-dev", "-headers")
    }
    everything = {**OFFER, **pinned}
    lock = lock_document([planned(V100)], CATALOG, lambda _: PackageIndex(everything))
    assert lock.classes[0].packages["libcudnn9-cuda-12"] == "9.10.2.21-1"
    assert newer_than(lock, CATALOG, lambda _: PackageIndex(everything)) == ()


def test_an_index_is_read_as_apt_publishes_it(tmp_path: Path) -> None:
    first = "Package: a\nVersion: 1-1\nDescription: Package: no\n\n"
    text = f"{first}Package: a\nVersion: 2-1\nDepends: b (= 2-1),\tc\n"
    (tmp_path / "Packages.gz").write_bytes(gzip.compress(text.encode()))
    repository = Repository(f"{tmp_path}/", Family.DEB, SigningKey("", ""))
    assert index_of(repository) == PackageIndex(
        {"a": ("1-1", "2-1")}, {("a", "2-1"): "b (= 2-1),\tc"}
    )


@pytest.fixture
def mirror() -> Iterator[str]:
    """Serve an index to those who know the login; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = base64.b64encode(b"bot:Se#s ame").decode()
            found = self.headers["Authorization"] == f"Basic {known}"
            self.send_response(200 if found else 401)
            self.end_headers()
            self.wfile.write(b"Package: x\nVersion: 1\n" if found else b"")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("login", ["bot:Se%23s%20ame@", "bot:********@", "********@", ""])
def test_the_index_of_a_mirror_with_a_login_can_be_read(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    """By the login in its address; where a result shows none, by ~/.netrc."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    repository = Repository(f"http://{login}{mirror}/", Family.DEB, SigningKey("", ""))
    if "Se" not in login:
        with pytest.raises(ConfigError, match=r"/Packages\.gz cannot be read.*401.*netrc") as told:
            index_of(repository)
        assert "bot" not in str(told.value)
        (tmp_path / "netrc").write_text('machine 127.0.0.1 login bot password "Se#s ame"\n')
        (tmp_path / "netrc").chmod(0o600)
    assert index_of(repository).versions == {"x": ("1",)}


def locked_by(lock: LockFile) -> Resolver:
    return partial(resolve_locked, lock=lock)


def test_a_plan_with_a_lock_file_asks_for_the_locked_versions_only() -> None:
    lock = written(planned(A10, driver="580.95.05"))
    variables = {"gpuprep_as_of": "2026-11-20", "gpu_driver_kernel": A10.kernel}
    locked = plan_host(observed(bare()), settings_from(variables), CATALOG, locked_by(lock))
    wanted = {step.target: step.after for step in locked.steps if step.kind == "package"}
    assert wanted["nvidia-open-580"] == "580.95.05-1"
    assert wanted["cuda-toolkit-13-0"] == lock.classes[0].packages["cuda-toolkit-13-0"]
    assert wanted["libcudnn9-cuda-13"] == lock.classes[0].packages["libcudnn9-cuda-13"]


def test_on_the_host_apt_prefers_what_is_locked() -> None:
    lock = written(planned(A10))
    locked = plan_host(observed(bare()), settings_from({}), CATALOG, locked_by(lock))
    (preferences,) = (f for f in locked.roles["cuda_toolkit"].state.files if f.kind == "pin")
    pinned = "Package: cuda-nvcc-13-0\nPin: version 13.0.88-1\nPin-Priority: 1000"
    assert pinned in (preferences.content or "")


def test_a_package_that_moved_on_is_brought_back_to_the_lock() -> None:
    lock = written(planned(A10))
    state = {"status": "installed", "hold": False, "depends": "", "provides": ""}
    there = {
        "cuda-toolkit-13-0": {
            **state,
            "version": "13.0.2-1",
            "depends": "cuda-nvcc-13-0 (>= 13.0.85)",
        },
        "cuda-nvcc-13-0": {**state, "version": "13.0.99-1"},
    }
    seen = bare(packages=there)
    locked = plan_host(observed(seen), settings_from({}), CATALOG, locked_by(lock))
    (step,) = (s for s in locked.steps if s.target == "cuda-nvcc-13-0")
    assert (step.action, step.before, step.after) == ("change", "13.0.99-1", "13.0.88-1")
    assert (
        PackageRequest("cuda-nvcc-13-0", "13.0.88-1") in locked.roles["cuda_toolkit"].state.packages
    )
    free = plan_host(observed(seen), settings_from({}), CATALOG)
    assert "cuda-nvcc-13-0" not in {s.target for s in free.steps}


def test_a_host_of_no_locked_class_is_refused() -> None:
    lock = written(planned(V100))
    refused = plan_host(observed(bare()), settings_from({}), CATALOG, locked_by(lock))
    assert (refused.state, refused.code, refused.steps) == ("refused", "E_LOCK_CLASS", ())


@pytest.mark.parametrize(
    ("family", "named"), [(Family.DEB, set()), (Family.RPM, {"cuda-nvcc-13-0"})]
)
def test_what_locked_packages_need_is_named_where_no_pin_fixes_it(
    family: Family, named: set[str]
) -> None:
    """dnf takes the newest of what others need in any version; apt is held by preferences."""
    exact = {"cuda-toolkit-13-0": "13.0.2-1", "cuda-nvcc-13-0": "13.0.88-1", "libcudnn9": "9.1-1"}
    roots = [Package("cuda-toolkit-13-0", "cuda", "13.0.2-1")]
    lock = VersionLock(exact=exact)

    def requests(packages: dict[str, InstalledPackage]) -> dict[str, str | None]:
        differences = Differences("cuda_toolkit")
        port = FAMILIES[family]
        found = diff_packages(differences, packages, roots, ("cuda-*",), port, lock)
        assert len(differences.steps) == (0 if packages else 1)
        return {request.name: request.version for request in found.wanted}

    assert requests({}) == {name: exact[name] for name in {"cuda-toolkit-13-0"} | named}
    there = {name: InstalledPackage(version, "installed") for name, version in exact.items()}
    assert requests(there) == {"cuda-toolkit-13-0": "13.0.2-1"}
