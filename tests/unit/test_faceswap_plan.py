"""What is planned of Faceswap on a host: each part that differs, and what forbids it."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from planner_cases import bare, observed, space

from gpuprep.catalog import load
from gpuprep.components import BY_NAME, NAMES
from gpuprep.components.faceswap import HOME, JOBS, RECORD, SOURCE
from gpuprep.errors import ConfigError
from gpuprep.model import PlanState
from gpuprep.planner import HostPlan, plan_host, settings_from
from gpuprep.planner.inputs import checked
from gpuprep.workloads.faceswap.variant import lock_text
from gpuprep.workloads.python_lock import digest_of, names_of

CATALOG = load()
ENV = "/opt/conda/envs/faceswap"
CHOSEN = {"gpuprep_components": ["conda", "faceswap"]}
Seen = dict[str, Any]


def without_gpu(**changes: Any) -> Seen:
    seen = bare(pci=[], memory_mb=16000, commands={"git": True}, **changes)
    seen["space"] = space()
    return seen


def planned(seen: Seen, role: str | None = None, **variables: Any) -> HostPlan:
    settings = settings_from({**CHOSEN, **variables})
    return plan_host(observed(seen), settings, CATALOG, role=role)


def converged() -> Seen:
    """A host after its plan was carried out, conda included."""
    seen = without_gpu()
    state = planned(seen).roles["faceswap"].state.workload
    conda = planned(seen).roles["conda"].state
    assert state is not None
    seen["conda"] = {
        "prefix": "/opt/conda",
        "exists": True,
        "complete": True,
        "version": "26.7.2",
        "packages": {"conda": "26.7.2-0"},
        "marker": {
            "installer": conda.conda.installer.version,
            "sha256": conda.conda.installer.sha256,
        }
        if conda.conda
        else None,
        "envs": {
            "faceswap": {
                "path": ENV,
                "packages": {"python": "3.11.14-0"},
                "marker": {
                    "digest": state.environment.digest,
                    "packages": {"python": "3.11.14-0"},
                },
                "python_packages": {"torch": "2.12.1", "pip": "26.3"},
                "python_marker": {
                    "digest": state.python_lock["digest"],
                    "packages": {"torch": "2.12.1", "pip": "26.3"},
                },
            }
        },
    }
    folders = {HOME: "0750", JOBS: "0750"}
    account = {"uid": 990, "home": HOME, "shell": "/usr/sbin/nologin", "group": "faceswap"}
    seen["accounts"] = {"faceswap": {**account, "folders": folders}}
    seen["checkouts"] = {SOURCE: {"commit": CATALOG.faceswap.commit, "intact": True}}
    for file in (*conda.files, state.record):
        seen["files"][file.path] = {
            "kind": "file",
            "mode": file.mode,
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256((file.content or "").encode()).hexdigest(),
        }
    return seen


def steps(plan: HostPlan) -> list[str]:
    assert plan.code is None, plan.error
    return [step.id for step in plan.steps if step.role == "faceswap"]


def operations(plan: HostPlan) -> dict[str, list[str]]:
    stages = plan.roles["faceswap"].to_dict()["operations"]
    return {stage: [operation["op"] for operation in found] for stage, found in stages.items()}


def test_a_bare_host_gets_everything_after_conda() -> None:
    seen = without_gpu()
    seen["commands"] = {"git": False}
    plan = planned(seen)
    assert list(plan.roles) == ["conda", "faceswap"]
    assert steps(plan) == [
        "faceswap.package.git",
        "faceswap.account.faceswap",
        "faceswap.environment.faceswap",
        f"faceswap.python_packages.{ENV}",
        f"faceswap.checkout.{SOURCE}",
        f"faceswap.record.{RECORD}",
    ]
    assert operations(plan) == {
        "packages": ["packages"],
        "install": ["account", "conda_environments", "python_lock", "checkout"],
        "configure": ["start_test", "files"],
    }
    state = plan.roles["faceswap"].state.workload
    assert state is not None
    text = lock_text("cu130")
    assert state.python_lock["digest"] == digest_of(text)
    assert set(state.python_lock["names"]) == set(names_of(text, "lock"))
    assert state.checkout["commit"] == CATALOG.faceswap.commit
    assert state.checkout["repository"] == CATALOG.faceswap.repository


def test_nothing_differs_on_a_converged_host() -> None:
    plan = planned(converged())
    assert plan.state is PlanState.CONVERGED, [step.id for step in plan.steps]
    assert plan.versions["faceswap"] == CATALOG.faceswap.commit[:12]
    assert operations(plan) == {}
    complete = planned(converged(), gpuprep_short_cut=False)
    assert operations(complete)["install"] == [
        "account",
        "conda_environments",
        "python_lock",
        "checkout",
    ]


def put(seen: Seen, path: str, value: Any) -> None:
    *parents, last = path.split("|")
    for part in parents:
        seen = seen[part]
    seen[last] = value


INSTALLED = "conda|envs|faceswap"
PACKAGES = f"faceswap.python_packages.{ENV}"


@pytest.mark.parametrize(
    ("path", "value", "step"),
    [
        (f"{INSTALLED}|python_packages", {"pip": "26.3"}, PACKAGES),
        (f"{INSTALLED}|python_packages", {"torch": "2.12.0", "pip": "26.3"}, PACKAGES),
        (f"{INSTALLED}|python_packages|more", "1", PACKAGES),
        (f"{INSTALLED}|python_marker", None, PACKAGES),
        (f"{INSTALLED}|python_marker|digest", "0", PACKAGES),
        (f"{INSTALLED}|packages", {}, "faceswap.environment.faceswap"),
        (f"checkouts|{SOURCE}|commit", "0" * 40, f"faceswap.checkout.{SOURCE}"),
        (f"checkouts|{SOURCE}|intact", False, f"faceswap.checkout.{SOURCE}"),
        (f"checkouts|{SOURCE}", None, f"faceswap.checkout.{SOURCE}"),
        ("accounts|faceswap", None, "faceswap.account.faceswap"),
        (f"accounts|faceswap|folders|{JOBS}", "0755", "faceswap.account.faceswap"),
        (f"accounts|faceswap|folders|{HOME}", "not its own", "faceswap.account.faceswap"),
        (f"files|{RECORD}", None, f"faceswap.record.{RECORD}"),
        (f"files|{RECORD}|mode", "0666", f"faceswap.record.{RECORD}"),
    ],
)
def test_each_difference_is_one_step_and_is_tried_again(path: str, value: Any, step: str) -> None:
    seen = copy.deepcopy(converged())
    put(seen, path, value)
    plan = planned(seen)
    assert step in steps(plan)
    assert operations(plan)["configure"] == ["start_test", "files"]


def test_an_environment_that_is_made_anew_needs_its_packages_again() -> None:
    seen = converged()
    seen["conda"]["envs"] = {}
    assert steps(planned(seen)) == ["faceswap.environment.faceswap", PACKAGES]


def test_the_role_alone_does_its_part_of_the_whole_plan() -> None:
    seen = converged()
    seen["checkouts"] = {}
    seen["conda"]["envs"] = {}
    whole, alone = planned(seen), planned(seen, role="faceswap")
    assert list(alone.roles) == ["faceswap"]
    assert alone.roles["faceswap"].state == whole.roles["faceswap"].state
    assert alone.roles["faceswap"].steps == whole.roles["faceswap"].steps
    # By the role's name it is wanted, whatever the fleet wants.
    named = planned(seen, role="faceswap", gpuprep_components=list(NAMES))
    assert named.roles["faceswap"].steps


@pytest.mark.parametrize(
    ("changes", "variables", "code"),
    [
        ({"conda": {}}, {}, "E_FS_CONDA"),
        ({"memory_mb": 980}, {}, "E_FS_MEMORY"),
        ({"accounts": {"faceswap": {"uid": 1000, "home": "/home/faceswap"}}}, {}, "E_FS_USER"),
        ({"pci": bare()["pci"]}, {}, "E_FS_DRIVER"),
        ({"pci": bare()["pci"]}, {"faceswap_backend": "cpu"}, None),
        ({}, {"faceswap_python": "3.9"}, "E_FS_PYTHON"),
        ({}, {"faceswap_variant": "cu999"}, "E_SETTING"),
    ],
)
def test_a_host_that_is_not_prepared_is_refused(
    changes: Seen, variables: Seen, code: str | None
) -> None:
    plan = planned({**converged(), **changes}, role="faceswap", **variables)
    assert plan.code == code, plan.error


def test_too_little_space_is_refused_before_anything_is_made() -> None:
    seen = without_gpu()
    seen["space"] = space(opt=CATALOG.faceswap.space_mb - 1)
    assert planned(seen).code == "E_FS_DISK"
    there = converged()
    there["space"] = space(100)
    assert planned(there).state is PlanState.CONVERGED


def test_space_is_for_conda_and_faceswap_together() -> None:
    seen, faceswap = without_gpu(), CATALOG.faceswap.space_mb
    both = faceswap + BY_NAME["conda"].space_mb["/opt"]
    for free, code in ((both, None), (both - 1, "E_DISK")):
        seen["space"] = space(free)
        assert planned(seen).code == code
    assert f"1200 for conda, {faceswap} for Faceswap" in (planned(seen).error or "")


def test_the_driver_of_the_whole_plan_is_enough_and_an_older_one_on_the_host_is_not() -> None:
    chosen = ["driver", "conda", "faceswap"]
    seen = without_gpu()
    seen["pci"] = bare()["pci"]
    whole = planned(seen, gpuprep_components=chosen)
    assert whole.code is None, whole.error
    assert list(whole.roles) == ["gpu_driver", "conda", "faceswap"]
    alone = planned({**converged(), "pci": seen["pci"]}, role="faceswap", gpuprep_components=chosen)
    assert alone.code == "E_FS_DRIVER"
    assert "none" in str(alone.error)


def test_a_driver_that_stays_gets_the_packages_that_it_runs() -> None:
    seen = {**converged(), "pci": bare()["pci"]}
    seen["driver"] |= {"proc_version": "570.172.08", "flavour": "proprietary"}
    seen["modules"] = {"loaded": {"nvidia": "570.172.08"}, "on_disk": []}
    everything = {"gpuprep_components": ["driver", "conda", "faceswap"]}
    wanted = planned(seen, role="faceswap", **everything)
    assert wanted.code == "E_FS_DRIVER"  # for 580, which is not there
    for more in ({**everything, "gpu_driver_branch": "keep"}, {}):
        kept = planned(seen, role="faceswap", **more)
        assert kept.code is None, kept.error
        assert kept.stack is not None
        assert kept.stack.faceswap is not None
        assert kept.stack.faceswap.variant == "cu126"


def test_it_comes_only_where_it_is_named() -> None:
    plan = plan_host(observed(bare()), settings_from({}), CATALOG)
    assert "faceswap" not in plan.roles
    assert BY_NAME["faceswap"].opt_in


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("faceswap_commit", "master"),
        ("faceswap_commit", "acdcfa8796c2"),
        ("faceswap_commit", "v3.0.0"),
        ("faceswap_repository", "ssh://git@host/faceswap.git"),
        ("faceswap_repository", "--upload-pack=touch /tmp/x"),
        ("faceswap_repository", "ext::sh -c id"),
        ("faceswap_index", "ftp://host/simple"),
        ("faceswap_variant", "latest"),
        ("faceswap_backend", "rocm"),
        ("faceswap_python", "3.11.14"),
    ],
)
def test_bad_values_are_told_by_their_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        checked({variable: value})


GOOD = f"tqdm==4.67.1 \\\n    --hash=sha256:{'a' * 64}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tqdm\n", 1),
        ("tqdm==4.67.1\n", 1),
        (GOOD + "numpy>=2 --hash=sha256:" + "b" * 64, 3),
        (GOOD + "--index-url http://elsewhere/simple\n", 3),
        ("-r other.txt\n", 1),
        ("-e git+https://host/x\n", 1),
        ("tqdm @ https://host/tqdm.whl --hash=sha256:" + "a" * 64, 1),
        ("tqdm==1 --hash=md5:" + "a" * 32, 1),
        (GOOD + "tqdm==1 \\\n", 3),
        ("# nothing\n", None),
    ],
)
def test_a_lock_may_say_nothing_but_files(text: str, line: int | None) -> None:
    where = f"l.txt, line {line}: " if line else "l.txt: "
    with pytest.raises(ConfigError) as raised:
        names_of(text, "l.txt")
    assert str(raised.value).startswith(where)


def test_a_lock_of_the_users_own_is_read_and_told_of_when_it_is_not_there() -> None:
    chosen = {**CHOSEN, "faceswap_lock": "mine.txt"}
    assert settings_from(chosen, files={"mine.txt": GOOD}).python_lock == GOOD
    with pytest.raises(ConfigError, match=r"faceswap_lock: 'mine\.txt' is not there"):
        settings_from(chosen)
    assert names_of(
        "Foo.Bar_baz==1 ; python_version < '4' \\\n --hash=sha256:" + "a" * 64, "l"
    ) == ("foo-bar-baz",)


def test_the_environments_name_is_taken() -> None:
    mine = [{"name": "faceswap", "packages": ["numpy"]}]
    with pytest.raises(ConfigError, match=r"conda_environments: .*faceswap"):
        settings_from({**CHOSEN, "conda_environments": mine})
    assert settings_from({"conda_environments": mine}).environments
