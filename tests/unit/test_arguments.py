"""Arguments of the Python interface: what is misspelt or of another kind is told, not left out."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faceswap_rig import material, one_job, write
from test_workshop import fleet_file

import gpuprep
from gpuprep.errors import ConfigError
from gpuprep.model import FleetResult
from gpuprep.run.execution import Run
from gpuprep.run.options import Access, RunOptions, extra_variables, tags_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERBS = ("plan", "apply", "verify", "status", "run_jobs", "workshop")


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a run is begun, or the cloud is asked."""
    monkeypatch.setattr("gpuprep.run.runner.run_playbook", lambda _: pytest.fail("Ansible ran"))
    monkeypatch.setattr("gpuprep.api._provision", lambda *_a, **_k: pytest.fail("OCI was asked"))


@pytest.fixture
def calls(tmp_path: Path) -> dict[str, Callable[..., object]]:
    """Every function that takes options, called with what it needs."""
    material(tmp_path)
    fleet, jobs = fleet_file(tmp_path, 1), write(tmp_path, one_job())
    return {
        **{verb: lambda verb=verb, **more: getattr(gpuprep, verb)("a,", **more) for verb in VERBS},
        "run_jobs": lambda **more: gpuprep.run_jobs(jobs, "a,", **more),
        "workshop": lambda **more: gpuprep.workshop(fleet, jobs, **more),
    }


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tag", "tags"),
        ("skip_tag", "skip_tags"),
        ("fork", "forks"),
        ("time_out", "timeout"),
        ("variable", "variables"),
        ("on_events", "on_event"),
        ("nonsense", None),
    ],
)
def test_a_misspelt_argument_is_told_with_what_was_meant(
    calls: dict[str, Callable[..., object]], verb: str, name: str, meant: str | None
) -> None:
    with pytest.raises(ConfigError) as told:
        calls[verb](**{name: ["x"]})
    expected = f"did you mean {meant}?" if meant else "it takes "
    assert str(told.value).startswith(f"{verb}() has no argument {name!r}: {expected}")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "workshop"])
def test_a_misspelt_limit_is_not_the_whole_fleet(
    calls: dict[str, Callable[..., object]], verb: str
) -> None:
    for name in ("limits", "limt", "Limit"):
        with pytest.raises(ConfigError, match=r"did you mean limit\?"):
            calls[verb](**{name: "gpu-00"})


def test_an_argument_of_another_verb_is_told() -> None:
    with pytest.raises(ConfigError, match=r"plan\(\) has no argument 'check'"):
        gpuprep.plan("a,", check=True)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"apply\(\) has no argument 'sample'"):
        gpuprep.apply("a,", sample=1)  # type: ignore[call-arg]


WRONG = [
    ("forks", 0, "forks: expected a whole number of at least 1, found 0"),
    ("forks", True, "found True"),
    ("forks", "5", "found '5'"),
    ("timeout", -1, "timeout: expected seconds, a number above 0, found -1"),
    ("timeout", 0, "found 0"),
    ("timeout", float("nan"), "found nan"),
    ("timeout", "x", "found 'x'"),
    ("verbosity", -1, "verbosity: expected a whole number of at least 0, found -1"),
    ("access", {}, "access: expected a gpuprep.Access, found dict"),
    ("access", "hunter2", "access: expected a gpuprep.Access, found text"),
    ("tags", 5, "tags: expected tags, as a list or with commas between them, found 5"),
    ("skip_tags", [5], "skip_tags: expected tags, .* found list"),
    ("diff", "no", "diff: expected True or False, found 'no'"),
    ("keep_connections", 0, "keep_connections: expected True or False, found 0"),
    ("transport", 5, "transport: expected ssh or asyncssh, found 5"),
    ("transport", "telnet", "transport: expected ssh or asyncssh, found 'telnet'"),
    ("on_event", "print", "on_event: expected a function that is not async, found 'print'"),
    ("cancel", 5, "cancel: expected a threading.Event, or a function .* found 5"),
    ("variables", 5, "variables: expected a mapping or a list, found int"),
    ("variables", [5], "variables: expected mappings and paths of files in the list, found int"),
    ("variables", {5: 6}, "variables: expected names that are text, found 5"),
    ("variables", [""], "variables file has an empty name"),
    ("check", None, "check: expected True or False, found None"),
    ("check", "yes", "check: expected True or False, found 'yes'"),
    ("limit", 5, "limit: expected a host pattern, or a list of hosts, found 5"),
    ("limit", ["a", 5], "limit: expected .* found list"),
    ("limit", b"a", "limit: expected .* found bytes"),
    ("tier", 5, "tier 5: choose one of"),
    ("sample", True, "sample: expected a whole number, at least 1 host, found True"),
    ("sample", "x", "found 'x'"),
    ("state", 5, "state 5: choose one of"),
    ("oci_options", [], "oci_options: expected a mapping of options by name, found list"),
    ("on_progress", 5, "on_progress: expected a function"),
]
OF_SOME = {
    "check": ("apply", "run_jobs", "workshop"),
    "limit": ("plan", "apply", "verify", "status", "run_jobs"),
    "tier": ("verify",),
    "sample": ("verify",),
    "state": ("run_jobs", "workshop"),
    "oci_options": ("workshop",),
    "on_progress": ("workshop",),
}


@pytest.mark.parametrize(
    ("verb", "name", "value", "message"),
    [(verb, *wrong) for wrong in WRONG for verb in OF_SOME.get(wrong[0], VERBS)],
)
def test_a_value_of_another_kind_is_told_before_anything_is_done(
    calls: dict[str, Callable[..., object]], verb: str, name: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        calls[verb](**{name: value})


async def never_awaited(*_: object) -> bool:
    return False


@pytest.mark.parametrize("name", ["on_event", "cancel"])
def test_a_coroutine_would_never_be_awaited(name: str) -> None:
    """As ``cancel``, it would end the run at once: a coroutine is true."""
    with pytest.raises(ConfigError, match=f"{name}: expected .*not async, found function"):
        gpuprep.status("a,", **{name: never_awaited})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "inventory", [5, b"a,", ["a,", 5], {"a,"}, (name for name in ("a,",))], ids=type
)
def test_an_inventory_of_another_kind_is_told(inventory: Any) -> None:
    with pytest.raises(ConfigError, match="inventory: expected a path"):
        gpuprep.plan(inventory)


def test_what_can_be_gone_through_only_once_is_no_limit() -> None:
    with pytest.raises(ConfigError, match=r"limit: expected .*found generator"):
        gpuprep.plan("a,", limit=(name for name in ("a",)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fleet": 5}, "fleet: expected the path of a file, or a mapping, found int"),
        ({"fleet": ""}, "fleet: expected .* found empty text"),
        ({"check": 1}, "check: expected True or False, found 1"),
        ({"state": 5}, "state: expected text, found 5"),
        ({"options": "DEFAULT"}, "options: expected a mapping of options by name, found text"),
        ({"on_progress": 5}, "on_progress: expected a function"),
    ],
)
def test_provisioning_takes_no_argument_of_another_kind(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        gpuprep.provision(**{"fleet": "fleet.yml", **arguments})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gpuprep.run_jobs(5, "a,"), "file: expected the path of a file, found 5"),  # type: ignore[arg-type]
        (lambda: gpuprep.run_jobs("", "a,"), "file: expected the path of a file, found ''"),
        (lambda: gpuprep.workshop("", "x"), "fleet: expected"),
        (lambda: gpuprep.workshop("x", ""), "jobs: expected"),
    ],
)
def test_files_have_names(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"user": ""}, "user: expected a login name, found empty text"),
        ({"user": 5}, "user: expected a login name, found int"),
        ({"private_key": ""}, "private_key: expected the path of a file, found empty text"),
        ({"connection_password": b"hunter2"}, "connection_password: expected text, found bytes"),
        ({"become_password": 12345678}, "become_password: expected text, found int"),
        ({"vault_password_files": "/p"}, "vault_password_files: expected a list of paths, found"),
        ({"vault_password_files": [""]}, "vault_password_files: expected a list of paths"),
        ({"vault_ids": "a@b"}, "vault_ids: expected a list of texts, label@file, found text"),
        ({"vault_passwords": "hunter2"}, "vault_passwords: expected a mapping of passwords"),
        ({"vault_passwords": {"a": None}}, "vault_passwords: expected a mapping of passwords"),
    ],
)
def test_an_access_says_what_is_wrong_with_it_and_shows_no_password(
    attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        Access(**attributes)
    assert "hunter2" not in str(told.value)
    assert "12345678" not in str(told.value)


def test_tags_are_a_list_or_text_with_commas_as_ansible_takes_them() -> None:
    assert tags_in({"tags": "install"}) == (("install",), ())
    assert tags_in({"tags": "install, verify", "skip_tags": "conda_install"}) == (
        ("install", "verify"),
        ("conda_install",),
    )
    assert tags_in({"tags": ["install,configure", "verify"]})[0] == (
        "install",
        "configure",
        "verify",
    )
    with pytest.raises(ConfigError, match="no task has the tag 'instal': did you mean install"):
        gpuprep.plan("a,", tags="instal")
    with pytest.raises(ConfigError, match="no task has the tag ''"):
        gpuprep.plan("a,", tags="")


@pytest.mark.parametrize("verb", ["verify", "status", "run_jobs"])
@pytest.mark.parametrize("option", [{"tags": "install"}, {"skip_tags": ["verify"]}, {"diff": True}])
def test_parts_and_diffs_are_not_ignored_where_no_plan_is_carried_out(
    calls: dict[str, Callable[..., object]], verb: str, option: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"{verb} carries no plan out: .* for plan and apply"):
        calls[verb](**option)


def test_none_is_as_good_as_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Run] = []

    def execute(run: Run) -> FleetResult:
        seen.append(run)
        return FleetResult(verb=run.verb, hosts={})

    monkeypatch.setattr(Run, "execute", execute)
    every: dict[str, Any] = dict.fromkeys(RunOptions.__annotations__)
    gpuprep.apply("a,", limit=None, variables=None, on_event=None, cancel=None, **every)
    gpuprep.verify("a,", sample=None, **every)
    assert [run.options for run in seen] == [{}, {}]


def test_whatever_holds_texts_may_name_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "execute", lambda run: run)
    hosts = {"a": SimpleNamespace(), "b": SimpleNamespace()}
    for limit in ("a,b", ["a", "b"], ("a",), {"a"}, hosts, hosts.keys()):
        gpuprep.apply("a,b,", limit=limit)
    for cancel in (threading.Event(), threading.Event().is_set, lambda: False):
        gpuprep.apply("a,", cancel=cancel, timeout=0.5, forks=1, verbosity=4, tags=("install",))


def test_a_workshop_refuses_what_its_runs_would_before_hosts_are_launched(
    calls: dict[str, Callable[..., object]],
) -> None:
    for options, message in (
        ({"tags": ["install"]}, "tags are for plan and apply"),
        ({"variables": ["/nowhere.yml"]}, "variables file /nowhere.yml"),
        ({"access": Access(private_key="/nowhere")}, "private key /nowhere"),
    ):
        with pytest.raises(ConfigError, match=message):
            calls["workshop"](**options)


def test_variables_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "v.yml"
    path.write_text("a: 1\n")
    assert extra_variables([{"b": 2}, path, str(path)]) == ({"b": 2}, path, path)
    assert extra_variables(None) == extra_variables([]) == ()
