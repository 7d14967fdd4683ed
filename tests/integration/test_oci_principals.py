"""Signing in without an API key: the SDK's own signers against the emulator's metadata service
and sign-in service, with certificates and tokens made for the test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from oci_lab import CORES, H100, ROOT, names, new_credentials, small, start

from gpuprep.errors import ConfigError, InventoryError
from sandbox.oci import keys, principals
from sandbox.oci.faults import Fault
from sandbox.oci.tenancy import REGION, TENANCY, Tenancy, fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNED_AS = {
    "instance_principal": "instance",
    "instance_obo_user": "delegate",
    "resource_principal": "resource",
}
INSTANCES = ("instance_principal", "instance_obo_user")
A_FEW_SECONDS = 6.0
each_core = pytest.mark.parametrize("core", sorted(CORES))
each_kind = pytest.mark.parametrize("kind", sorted(SIGNED_AS))


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return new_credentials(tmp_path_factory.mktemp("oci"))


class Place:
    """Where a program runs that may sign in so: an emulator and an environment, and no key."""

    def __init__(self, folder: Path, credentials: keys.Credentials, tenancy: Tenancy) -> None:
        self.lab = start(folder, credentials, tenancy)
        self.emulator = self.lab.emulator
        self.authority = self.emulator.authority
        self.environment = principals.create(folder, self.emulator)

    def options(self, kind: str, **given: Any) -> dict[str, Any]:
        return {"auth_type": kind, "config_file": str(self.lab.folder / "none"), **given}

    def list(self, kind: str, **given: Any) -> list[str]:
        given.setdefault("federation_endpoint", self.emulator.federation_url)
        given.setdefault("delegation_token_file", self.environment["OCI_DELEGATION_TOKEN_FILE"])
        return names(self.lab.list(**self.options(kind, **given)))

    def refusal(self, kind: str, **given: Any) -> str:
        with pytest.raises((ConfigError, InventoryError)) as caught:
            self.list(kind, **given)
        return str(caught.value)

    def file(self, kind: str) -> Path:
        return self.lab.file(**self.options(kind))

    def run(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command line with the environment of the place."""
        command = ("-m", "gpuprep", "inventory", *arguments)
        return self.lab.run("python", *command, **{**self.environment, **more})


@pytest.fixture
def place(
    tmp_path: Path, credentials: keys.Credentials, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    one = Place(tmp_path, credentials, small())
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    yield one
    one.emulator.stop()


def told(text: str) -> str:
    """Undo Ansible's line breaks, which fall into words too."""
    return "".join(text.split())


# --- it works ----------------------------------------------------------------------------------


@each_kind
def test_each_kind_signs_in_and_lists(place: Place, kind: str) -> None:
    assert place.list(kind) == [f"gpu-0000{number}" for number in range(6)]
    stats = place.emulator.stats
    assert stats.principals[SIGNED_AS[kind]] == 8
    federated = 1 if kind in INSTANCES else 0
    assert stats.principals["certificate"] == stats.routes["/v1/x509"] == federated
    assert (stats.routes["/opc/v2/identity/key.pem"] > 0) == bool(federated)
    assert set(stats.statuses) == {200}


@each_core
@each_kind
def test_each_kind_works_in_ansible(place: Place, kind: str, core: str) -> None:
    found = place.lab.hosts(place.file(kind), core, **place.environment)
    assert found["gpu-00005"]["ansible_host"] == "10.0.0.7"
    assert place.emulator.stats.principals[SIGNED_AS[kind]] == 8


def test_a_resource_principal_may_be_given_by_content(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OCI_RESOURCE_PRINCIPAL_RPST", "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM"):
        monkeypatch.setenv(name, Path(place.environment[name]).read_text())
    assert len(place.list("resource_principal")) == 6
    assert place.emulator.stats.principals == {"resource": 8}


def test_the_region_is_the_one_of_the_instance_unless_another_is_named(place: Place) -> None:
    """The metadata service says iad, which the SDK translates."""
    by_region = place.emulator.url_by_region
    tenancy = place.emulator.api.tenancy
    tenancy.regions = (*tenancy.regions, "us-phoenix-1")
    assert len(place.list("instance_principal", service_endpoint=by_region)) == 6
    other = place.list("instance_principal", service_endpoint=by_region, region="us-phoenix-1")
    assert other == []


def test_an_instance_may_be_allowed_to_act_for_a_user_only(place: Place) -> None:
    place.authority.delegates_only = True
    refused = place.refusal("instance_principal")
    assert "404 NotAuthorizedOrNotFound" in refused
    assert len(place.list("instance_obo_user")) == 6


@pytest.mark.parametrize("kind", INSTANCES)
def test_a_token_is_renewed_before_it_ends(place: Place, kind: str) -> None:
    place.authority.lifetime = 30  # the SDK renews from 60 s before the end: for each request
    assert len(place.list(kind, workers=1)) == 6
    assert place.emulator.stats.principals == {SIGNED_AS[kind]: 8, "certificate": 9}


def test_many_requests_at_once_share_one_token(
    tmp_path: Path, credentials: keys.Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = Place(tmp_path, credentials, fleet(200, H100, 8, compartments=20, subnets=20))
    for name, value in big.environment.items():
        monkeypatch.setenv(name, value)
    try:
        assert len(big.list("instance_obo_user")) == 200
        assert big.emulator.stats.most_at_once > 1
        assert big.emulator.stats.routes["/v1/x509"] == 1
        assert set(big.emulator.stats.statuses) == {200}
    finally:
        big.emulator.stop()


# --- it does not -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INSTANCES)
def test_a_refused_instance_is_told_what_to_do(place: Place, kind: str) -> None:
    place.emulator.faults.append(Fault("x509", 401))
    text = place.refusal(kind)
    assert f"auth_type {kind}: OCI's sign-in service does not accept this instance: 401" in text
    assert "opc-request-id" in text
    assert "The clock is right: repeat in a few minutes" in text
    assert place.emulator.stats.routes["/v1/x509"] == 1


def test_a_certificate_of_another_authority_is_refused(place: Place) -> None:
    """Not a fault on order: the emulator checks the chain."""
    real = place.authority.chain
    place.authority._chain = None
    strange = place.authority.chain
    place.authority._chain = type(real)(real.root, strange.intermediate, strange.leaf)
    assert "does not accept this instance: 401 NotAuthenticated" in place.refusal(
        "instance_principal"
    )


def test_a_wrong_clock_is_told(
    tmp_path: Path, credentials: keys.Credentials, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = start(tmp_path, credentials, small(), clock_offset=3600)
    monkeypatch.setenv("OCI_METADATA_BASE_URL", late.emulator.metadata_url)
    try:
        text = place.refusal("instance_principal", federation_endpoint=late.emulator.federation_url)
        assert re.search(r"This machine's clock is 3(599|600) s behind: set it", text)
    finally:
        late.emulator.stop()


@pytest.mark.parametrize("kind", INSTANCES)
def test_a_sign_in_service_that_passes_through_a_bad_minute_is_asked_again(
    place: Place, kind: str
) -> None:
    place.emulator.faults.append(Fault("x509", 429, 1))
    place.emulator.faults.append(Fault("identity/cert", 404, 1))
    assert len(place.list(kind)) == 6
    assert place.emulator.stats.routes["/v1/x509"] == 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("x509", 503), "sign-in service does not work now: 503 ServiceUnavailable"),
        (Fault("x509", "drop"), "/v1/x509: connection broke before the answer came"),
        (Fault("x509", "cut"), "does not work here (RuntimeError)"),
        (Fault("identity", 404), "gives no certificate (HTTP 404)"),
        (Fault("opc/v2", 404), "no metadata service of OCI at http://127.0.0.1"),
        (Fault("opc/v2", 401), "(HTTP 401)"),
        (Fault("opc/v2", "drop"), "(no connection)"),
        (Fault("opc/v2", "hang"), "(no answer in 2 s)"),
    ],
    ids=str,
)
def test_each_failure_has_its_message_within_seconds(
    place: Place, fault: Fault, expected: str
) -> None:
    place.emulator.faults.append(fault)
    started = time.monotonic()
    text = place.refusal("instance_principal")
    assert time.monotonic() - started < A_FEW_SECONDS
    assert expected in text
    assert place.emulator.stats.principals["instance"] == 0


def test_off_the_cloud_there_is_no_metadata_service(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.emulator.stop()  # nobody listens there now
    text = place.refusal("instance_principal")
    assert "auth_type instance_principal does not work here: no metadata service" in text
    assert "(no connection)" in text
    assert "elsewhere use auth_type: api_key" in text
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "add its address to no_proxy" in place.refusal("instance_principal")


def test_without_the_option_the_sign_in_service_is_the_one_of_the_region(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # keeps the request on this machine
    text = place.refusal("instance_principal", federation_endpoint=None)
    assert "https://auth.us-ashburn-1.oraclecloud.com/v1/x509: the proxy does not answer" in text


def test_a_renewal_that_fails_is_told(place: Place) -> None:
    place.authority.lifetime = 30
    broken = Fault("x509", "cut")
    place.emulator.once("compartments", lambda: place.emulator.faults.append(broken))
    text = place.refusal("instance_principal")
    assert "the token cannot be renewed: RuntimeError" in text


def expired(place: Place) -> dict[str, str]:
    place.authority.lifetime = -600
    return principals.create(place.lab.folder, place.emulator)


def test_expired_tokens_say_where_new_ones_come_from(place: Place) -> None:
    expired(place)
    text = place.refusal("instance_obo_user")
    assert "the delegation token" in text
    assert "expired 10 minutes ago; get a new delegation token" in text
    text = place.refusal("resource_principal")
    assert "session token expired 10 minutes ago; OCI renews it where the program runs" in text
    assert place.emulator.stats.total == 0


def test_a_forged_delegation_token_is_refused(place: Place) -> None:
    path = Path(place.environment["OCI_DELEGATION_TOKEN_FILE"])
    head, body, signature = path.read_text().split(".")
    path.write_text(f"{head}.{body}.{signature[::-1]}")
    text = place.refusal("instance_obo_user")
    assert "401 NotAuthenticated" in text
    assert "get a new delegation token" in text
    assert place.emulator.stats.principals["delegate"] == 0


@pytest.mark.parametrize("name", ["RPST", "PRIVATE_PEM"])
def test_what_a_resource_principal_lacks_is_named(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"OCI_RESOURCE_PRINCIPAL_{name}"
    Path(place.environment[variable]).unlink()
    assert f"{variable} names {place.environment[variable]}" in place.refusal("resource_principal")
    monkeypatch.delenv(variable)
    assert f"{variable} is not set" in place.refusal("resource_principal")


# --- the command line --------------------------------------------------------------------------


@each_kind
def test_the_doctor_tells_how_it_signed_in(place: Place, kind: str) -> None:
    done = place.run("doctor", place.file(kind))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert lines["profile"].startswith("ok       profile       none needed; ")
    assert f"{kind}: has a token good for 20 minutes" in lines["key"]
    assert f"tenancy {TENANCY}, region {REGION}" in lines["key"]
    assert "6 hosts" in lines["hosts"]


def test_the_doctor_names_who_lacks_a_policy(place: Place) -> None:
    place.authority.delegates_only = True
    done = place.run("doctor", place.file("instance_principal"))
    assert done.returncode == 69
    wanted = "Allow dynamic-group <dynamic group> to inspect compartments in tenancy"
    assert done.stdout.splitlines()[-1].strip() == wanted


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("x509", 401), "OCI's sign-in service does not accept this instance"),
        (Fault("opc/v2", 404), "no metadata service of OCI"),
    ],
    ids=["refused", "off the cloud"],
)
def test_a_failed_sign_in_ends_both_commands_with_69(
    place: Place, fault: Fault, expected: str
) -> None:
    place.emulator.faults.append(fault)
    path = place.file("instance_principal")
    doctor, listed = place.run("doctor", path), place.run("list", "-i", path)
    assert (doctor.returncode, listed.returncode) == (69, 69)
    last = doctor.stdout.splitlines()[-1]
    assert last.split()[:2] == ["failed", "key"]
    assert expected in last
    assert told(expected) in told(listed.stderr)
    assert "Traceback" not in doctor.stdout + doctor.stderr + listed.stderr


def test_users_can_try_it(tmp_path: Path) -> None:
    """As docs/inventory.md says."""
    command = (sys.executable, "-m", "sandbox.oci")
    state = tmp_path / "oci"
    serving = subprocess.Popen(
        [*command, "serve", "--fleet", "2", "--shape", H100, "--state", state], cwd=ROOT
    )
    try:
        deadline = time.monotonic() + 20
        while not (state / "endpoint.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for kind in SIGNED_AS:
            script = f". {state}/principals.env; gpuprep inventory doctor {state}/sandbox.oci.yml"
            done = subprocess.run(
                ["sh", "-ec", script],
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "HOME": str(tmp_path),
                    "OCI_CLI_AUTH": kind,
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"{kind}: has a token" in done.stdout
            assert "2 hosts" in done.stdout
        assert (state / "principals.env").stat().st_mode & 0o077 == 0
    finally:
        subprocess.run([*command, "stop", "--state", state], cwd=ROOT, check=True)
        serving.wait(20)


# --- secrets -----------------------------------------------------------------------------------


def secrets(place: Place) -> set[str]:
    """Pieces of all that must stay hidden: keys, certificates and tokens."""
    chain = place.authority.chain
    files = ("DELEGATION_TOKEN_FILE", "RESOURCE_PRINCIPAL_RPST", "RESOURCE_PRINCIPAL_PRIVATE_PEM")
    content = [Path(place.environment[f"OCI_{name}"]).read_text() for name in files]
    pems = [chain.leaf.pem(), chain.leaf.key_pem(), chain.intermediate.pem()]
    lines = "\n".join([*content, *(one.decode() for one in pems)]).split()
    pieces = {piece for line in lines for piece in line.split(".") if len(piece) >= 60}
    assert len(pieces) > 40
    return pieces | {"PRIVATE KEY", "BEGIN CERT", "Signature algorithm", "keyId=", "ST$"}


@each_kind
def test_no_key_certificate_or_token_is_ever_shown(place: Place, kind: str) -> None:
    place.lab.credentials.config.parent.joinpath("log").write_text("[DEFAULT]\nlog_requests=true\n")
    config = place.lab.credentials.config.parent / "log"
    path = place.lab.file(**place.options(kind, config_file=str(config)))
    loud = {**place.environment, "ANSIBLE_DEBUG": "1"}
    good = place.lab.inventory(path, "-vvvvvv", **loud)
    assert good.returncode == 0, good.stderr[-2000:]
    shown = [good]
    for fault in (Fault("compartments", 401), Fault("x509", 401), Fault("x509", "cut")):
        place.emulator.faults[:] = [fault]
        shown.append(place.lab.inventory(path, "-vvvvvv", **loud))
    if kind in INSTANCES:
        assert [one.returncode == 0 for one in shown[1:]] == [False] * 3
    hidden = secrets(place)
    for done in shown:
        assert [one for one in hidden if one in done.stdout + done.stderr] == []


def test_a_broken_key_from_the_metadata_service_is_not_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's error quotes it."""
    monkeypatch.setattr(
        type(place.authority.chain.leaf), "key_pem", lambda _: b"KEYMARKER, cut short"
    )
    text = place.refusal("instance_principal")
    assert "InvalidCertificateFromInstanceMetadataError" in text
    assert "KEYMARKER" not in text


def test_cache_files_hold_no_token(place: Place, tmp_path: Path) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile"}
    where = str(tmp_path / "cache")
    options = place.options("instance_principal", cache_connection=where, **cache)
    place.lab.hosts(place.lab.file(**options), **place.environment)
    (stored,) = (tmp_path / "cache").iterdir()
    text = stored.read_text()
    assert json.loads(text)
    assert [one for one in secrets(place) if one in text] == []
