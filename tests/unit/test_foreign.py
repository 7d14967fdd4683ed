"""What others told the package manager: seen while observing, and set aside or refused by name."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import Observation, bare, carried_out, observed

from gpuprep.catalog import load
from gpuprep.model import Family, Repository, SigningKey
from gpuprep.observe.observation import PackageRule
from gpuprep.on_host.observe import deb, rpm
from gpuprep.packages.apt_preferences import Offer, deciding
from gpuprep.packages.foreign import Rival, rivals
from gpuprep.planner import HostPlan, plan_host, settings_from

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load()
NVIDIA = "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"
DEBIAN = "http://debian.example/debian"
KEYRING_LIST = "/etc/apt/sources.list.d/cuda-debian12-x86_64.list"
FORBIDDING = "/etc/apt/preferences.d/no-nvidia"
REPOSITORY = Repository(
    NVIDIA, Family.DEB, SigningKey("", ""), "NVIDIA", CATALOG.repositories.elsewhere
)


def plan(observation: Observation, **settings: Any) -> HostPlan:
    return plan_host(observed(observation), settings_from(settings), CATALOG)


def with_manager(host: Observation | None = None, **values: Any) -> Observation:
    host = host or bare()
    return {**host, "package_manager": {**host["package_manager"], **values}}


# --- what apt reads -------------------------------------------------------------------------------


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "preferences.d").mkdir()
    for name, main in (("SOURCES", "sources.list"), ("PREFERENCES", "preferences")):
        monkeypatch.setattr(deb, name, (f"{tmp_path}/{main}", f"{tmp_path}/{main}.d/*"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "addresses"),
    [
        ("a.list", f"deb {NVIDIA} /\n", [NVIDIA]),
        ("a.list", f"deb [arch=amd64 signed-by=/k] {NVIDIA} /\n", [NVIDIA]),
        ("a.list", f"  deb-src [ trusted=yes ]{NVIDIA} / # x\n", [NVIDIA]),
        ("a.list", f"# deb {NVIDIA} /\n#deb {NVIDIA} /\n", None),
        ("a.list", f"deb https://bot:pw@host/x /\ndeb {DEBIAN} sid main\n", [DEBIAN, "https://host/x"]),
        ("a.sources", f"Types: deb\nURIs: {NVIDIA}\nSuites: /\n", [NVIDIA]),
        ("a.sources", f"types: deb\nuris:\n {NVIDIA}\n {DEBIAN}\n", [DEBIAN, NVIDIA]),
        ("a.sources", f"URIs: {DEBIAN}\n\n# x\nEnabled: no\nURIs: {NVIDIA}\n", [DEBIAN]),
        ("a.list.save", f"deb {NVIDIA} /\n", None),
        ("a.sources.disabled", f"URIs: {NVIDIA}\n", None),
        ("a b.list", f"deb {NVIDIA} /\n", None),
    ],
)  # fmt: skip
def test_sources_are_read_as_apt_reads_them(
    apt: Path, name: str, text: str, addresses: list[str] | None
) -> None:
    path = apt / "sources.list.d" / name
    path.write_text(text)
    assert deb.sources() == ({str(path): addresses} if addresses else {})


def test_the_main_list_is_read_too(apt: Path) -> None:
    (apt / "sources.list").write_text(f"deb {DEBIAN} sid main\ndeb {NVIDIA} /\n")
    assert deb.sources() == {str(apt / "sources.list"): [DEBIAN, NVIDIA]}


def test_rules_come_in_the_order_that_apt_takes_them(apt: Path) -> None:
    rule = "Explanation: x\nPackage: {}\nPin: release o=NVIDIA\nPin-Priority: -1\n\n"
    (apt / "preferences").write_text(rule.format("a b"))
    (apt / "preferences.d/20-x").write_text(rule.format("c") + rule.format("d"))
    (apt / "preferences.d/10-x.pref").write_text(rule.format("e"))
    (apt / "preferences.d/x.bak").write_text(rule.format("f"))
    (apt / "preferences.d/y").write_text("Package: g\nPin: version *\n")
    names = [tuple(rule["names"]) for rule in deb.rules()]
    assert names == [("a", "b"), ("e",), ("c",), ("d",)]


def test_enabled_repositories_of_dnf_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpm, "SOURCES", (f"{tmp_path}/*.repo",))
    (tmp_path / "a.repo").write_text(
        "[cuda]\nbaseurl=https://h/cuda/repos/rhel9\n[off]\nenabled=0\nbaseurl=https://h/off\n"
    )
    (tmp_path / "b.repo").write_text("no section\n")
    assert rpm.sources() == {f"{tmp_path}/a.repo": ["https://h/cuda/repos/rhel9"]}


# --- another source of the same packages ----------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        NVIDIA,
        NVIDIA.rstrip("/"),
        NVIDIA.replace("https", "http"),
        NVIDIA.replace("https", "tor+https"),
        NVIDIA.replace("nvidia.com", "nvidia.com:443"),
        NVIDIA.replace("nvidia.com/", "NVIDIA.com//"),
        NVIDIA.replace("debian12", "%64ebian12"),
        NVIDIA.replace("debian12", "ubuntu2204"),
        "https://mirror.example/nvidia/compute/cuda/repos/debian12/x86_64/",
        "file:/var/cuda-repo-debian12-13-0-local",
        "file:///var/nvidia-driver-local-repo-debian12-580.95.05/",
    ],
)
def test_a_source_of_the_same_packages_is_seen_whatever_its_spelling(address: str) -> None:
    assert rivals({"/x.list": [address]}, REPOSITORY, ()) == (
        Rival("/x.list", address, alone=True),
    )


@pytest.mark.parametrize(
    "address",
    [
        DEBIAN,
        "https://nvidia.github.io/libnvidia-container/stable/deb/amd64",
        "cdrom:[Debian GNU/Linux 12]/",
        "http://[fd77::2]:8080/debian",
        "file:/srv/debs",
        "x",
    ],
)
def test_sources_of_others_are_none_of_ours(address: str) -> None:
    assert rivals({"/x.list": [address]}, REPOSITORY, ()) == ()


def test_a_mirror_is_known_by_its_own_address() -> None:
    mirror = Repository("https://bot:pw@mirror/nv/d12/", Family.DEB, SigningKey("", ""))
    assert rivals({"/x.list": ["https://mirror/nv/d12"]}, mirror, ())
    assert not rivals({"/x.list": [NVIDIA]}, mirror, ())
    assert not rivals({"/own": ["https://mirror/nv/d12"]}, mirror, ("/own",))


def test_the_source_of_cuda_keyring_is_set_aside_before_ours_is_written() -> None:
    made = plan(with_manager(sources={KEYRING_LIST: [NVIDIA], "/etc/apt/sources.list": [DEBIAN]}))
    (step,) = [step for step in made.steps if step.kind == "source"]
    assert (step.id, step.action) == (f"gpu_driver.source.{KEYRING_LIST}", "disable")
    assert NVIDIA in step.reason
    stage = made.roles["gpu_driver"].to_dict()["operations"]["files"]
    assert [operation["op"] for operation in stage] == ["set_aside", "files"]
    assert stage[0]["paths"] == [KEYRING_LIST]
    assert made.roles["gpu_driver"].refresh
    others = [role.to_dict()["operations"].get("files", []) for role in made.roles.values()]
    assert sum(op["op"] == "set_aside" for ops in others for op in ops) == 1


def test_a_source_that_comes_later_is_drift() -> None:
    host = carried_out(bare(), plan(bare()))
    assert plan(host).state == "converged"
    later = with_manager(host, sources={KEYRING_LIST: [NVIDIA]})
    assert [step.kind for step in plan(later).steps] == ["source"]
    assert plan(later, gpuprep_components=["conda"]).state == "converged"


def test_a_source_among_others_is_refused_with_its_file() -> None:
    sources = {"/etc/apt/sources.list": [DEBIAN, NVIDIA]}
    made = plan(with_manager(sources=sources))
    assert (made.state, made.code) == ("refused", "E_FOREIGN_SOURCE")
    assert made.error
    assert "/etc/apt/sources.list" in made.error
    assert NVIDIA in made.error
    host = with_manager(carried_out(bare(), plan(bare())), sources=sources)
    assert plan(host).code == "E_FOREIGN_SOURCE"


# --- rules that forbid ----------------------------------------------------------------------------

OFFER = Offer("developer.download.nvidia.com", "NVIDIA", "580.*")


def rule(names: str, pin: str, priority: int = -1, path: str = FORBIDDING) -> dict[str, Any]:
    return {"path": path, "names": names.split(), "pin": pin, "priority": priority}


@pytest.mark.parametrize(
    ("names", "pin"),
    [
        ("nvidia-*", "release *"),
        ("*", "release o=NVIDIA"),
        ("*", "release l=NVIDIA CUDA"),
        ("nvidia-open-580", "version 580*"),
        ("nvidia-open-580", "version *"),
        ("foo nvidia-open*:amd64", "release o=NVIDIA, l=NVIDIA CUDA"),
        ("/^nvidia/", "origin developer.download.nvidia.com"),
        ("*nvidia*", 'origin "developer.download.nvidia.com"'),
        ("src:nvidia*", "origin *.nvidia.com"),
    ],
)
def test_a_rule_that_forbids_the_driver_is_refused_with_its_file(names: str, pin: str) -> None:
    made = plan(with_manager(rules=[rule(names, pin, path="/etc/apt/preferences")]))
    assert (made.state, made.code) == ("refused", "E_FOREIGN_PIN")
    assert made.error
    for part in ("/etc/apt/preferences", "nvidia-open-580", pin):
        assert part in made.error


@pytest.mark.parametrize(
    ("pin", "code"),
    [("release *", "E_FOREIGN_PIN"), ("release o=Debian", None), ('origin ""', None)],
)
def test_headers_are_looked_at_where_a_rule_means_everything(pin: str, code: str | None) -> None:
    assert plan(with_manager(rules=[rule("linux-*", pin)])).code == code


@pytest.mark.parametrize(
    "given",
    [
        [rule("nvidia-*", "release o=Ubuntu")],
        [rule("nvidia-*", "release o=Debian, n=sid")],
        [rule("*", "release a=experimental", 1)],
        [rule("*", "release n=*")],
        [rule("nvidia-*", "version 535.*")],
        [rule("nvidia-*", 'origin ""')],
        [rule("nouveau-firmware snapd", "release *")],
        [rule("*", "release o=NVIDIA", path="/etc/apt/preferences.d/zz")],  # ours comes first
        [rule("nvidia-* cuda-* *cudnn*", "release o=NVIDIA", 600), rule("*", "release o=NVIDIA")],
        [rule("*", "release o=NVIDIA", path="/etc/apt/preferences.d/nvidia-driver-pinning-535")],
        [rule("nvidia-*", "/bad(/"), rule("/bad(/", "release *")],
    ],
)
def test_rules_about_others_are_no_obstacle(given: list[dict[str, Any]]) -> None:
    assert plan(with_manager(rules=given)).state == "drifted"


def test_a_host_that_needs_no_package_is_not_refused_for_a_rule() -> None:
    host = carried_out(bare(), plan(bare()))
    assert plan(with_manager(host, rules=[rule("nvidia-*", "release *")])).state == "converged"


CASES = [
    [("a", "nvidia-open-580", "version 580*", 1001), ("z", "nvidia-*", "release *", -1)],
    [("a", "nvidia-*", "release *", -1), ("z", "nvidia-open-580", "version 580*", 1001)],
    [("a", "*", "release o=NVIDIA", -1), ("z", "*", "release o=NVIDIA", 600)],
    [("a", "*", "release o=NVIDIA", 600), ("z", "*", "release o=NVIDIA", -1)],
    [("a", "*", "release *", -1), ("z", "nvidia-*", "release *", 600)],
    [("a", "*", "release a=stable", -1)],
    [("a", "*", "release l=NVIDIA CUDA", -1)],
    [("a", "foo NVIDIA-open*", "release o=NVI*", -1)],
    [("a", "/^nvidia/", "release o=NVIDIA, l=NVIDIA CUDA", -1)],
    [("a", "nvidia-open-580:amd64", "version 580.95-1", -1)],
    [("a", "nvidia-open-580", "release NVIDIA", -1)],
    [("a", "src:nvidia*", "version *", -1)],
    [("a.pref", "nvidia*", "version 580.*", -1), ("a.bak", "nvidia*", "version *", 1001)],
]


@pytest.mark.skipif(not shutil.which("apt-cache"), reason="apt judges here")
def test_the_deciding_rule_is_the_one_that_apt_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("repo", "etc/sources.list.d", "etc/preferences.d", "etc/apt.conf.d",
                   "lib/lists/partial", "cache/archives/partial"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "status").touch()
    (tmp_path / "conf").write_text(
        f'Dir::Etc "{tmp_path}/etc/"; Dir::State "{tmp_path}/lib/"; Dir::Cache "{tmp_path}/cache/";'
        f' Dir::State::status "{tmp_path}/status"; APT::Sandbox::User "";'
        ' APT::Architecture "amd64"; APT::Architectures "amd64";'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "conf"))
    (tmp_path / "repo/Packages").write_text(
        "Package: nvidia-open-580\nVersion: 580.95-1\nArchitecture: amd64\nFilename: x\nSize: 1\n"
    )
    release = subprocess.run(
        ["sha256sum", "Packages"], cwd=tmp_path / "repo", check=True, capture_output=True, text=True
    ).stdout.split()[0]
    size = (tmp_path / "repo/Packages").stat().st_size
    (tmp_path / "repo/Release").write_text(
        f"Origin: NVIDIA\nLabel: NVIDIA CUDA\nSHA256:\n {release} {size} Packages\n"
    )
    (tmp_path / "etc/sources.list.d/a.list").write_text(f"deb [trusted=yes] file:{tmp_path}/repo /")
    subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True)
    monkeypatch.setattr(deb, "PREFERENCES", (f"{tmp_path}/p", f"{tmp_path}/etc/preferences.d/*"))
    offer = Offer("", "NVIDIA", "580.95-1")
    for case in CASES:
        for path in (tmp_path / "etc/preferences.d").iterdir():
            path.unlink()
        for file, names, pin, priority in case:
            text = f"Package: {names}\nPin: {pin}\nPin-Priority: {priority}\n"
            (tmp_path / "etc/preferences.d" / file).write_text(text)
        policy = subprocess.run(
            ["apt-cache", "policy", "nvidia-open-580"], check=True, capture_output=True, text=True
        ).stdout
        rules = [
            PackageRule(rule["path"], tuple(rule["names"]), rule["pin"], rule["priority"])
            for rule in deb.rules()
        ]
        found = deciding("nvidia-open-580", offer, rules)
        assert f"580.95-1 {found.priority if found else 500}\n" in policy, case
