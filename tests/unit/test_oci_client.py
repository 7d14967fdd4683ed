"""How many requests at a time, and how long to wait between attempts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from gpuprep.errors import ConfigError
from gpuprep.oci import Options, profiles
from gpuprep.oci.client import Call, CallFailedError, Client, Gate
from gpuprep.oci.signin import sign_in
from sandbox.oci import keys
from sandbox.oci.faults import Fault
from sandbox.oci.server import Emulator
from sandbox.oci.tenancy import REGION, Tenancy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TREE = Call("identity", REGION, "/compartments", {"compartmentId": Tenancy().ocid}, "the tenancy")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    own = keys.create(tmp_path, Tenancy().ocid, REGION)
    with Emulator(Tenancy(), {own.key_id: own.public_key}) as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(emulator: Emulator, tmp_path: Path, waits: list[float]) -> Client:
    given = {"config_file": str(tmp_path / "config"), "service_endpoint": emulator.url}
    options = Options.from_mapping(given)
    return Client(sign_in(options, profiles.load(options)), options, sleep=waits.append)


def test_a_gate_lets_no_more_through_than_it_is_wide() -> None:
    gate, inside, most = Gate(3), [0], [0]
    lock = threading.Lock()

    def pass_through() -> None:
        with gate.passing():
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=pass_through) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most[0] == 3


def test_each_429_halves_the_width_and_the_wait_grows(
    emulator: Emulator, client: Client, waits: list[float]
) -> None:
    emulator.faults.append(Fault("compartments", 429, 4))
    assert client.all(TREE) == []
    assert client._gate.width == 1
    assert [low <= wait <= 2 * low for wait, low in zip(waits, (0.25, 0.5, 1, 2), strict=True)] == [
        True
    ] * 4


def test_a_server_error_is_repeated_at_full_width(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(Fault("compartments", 503, 1))
    assert client.all(TREE) == []
    assert client._gate.width == 8


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_will_not_pass_is_not_repeated(
    emulator: Emulator, client: Client, status: int, waits: list[float]
) -> None:
    emulator.faults.append(Fault("compartments", status, 2))
    with pytest.raises(CallFailedError) as caught:
        client.whole(TREE)
    assert caught.value.answer.status == status
    assert (client.requests, waits) == (1, [])


def test_attempts_end(emulator: Emulator, client: Client, waits: list[float]) -> None:
    emulator.faults.append(Fault("compartments", 500))
    with pytest.raises(CallFailedError, match="the tenancy: 500 InternalServerError"):
        client.all(TREE)
    assert (client.requests, len(waits)) == (6, 5)


def test_an_object_where_a_list_belongs_is_told(client: Client) -> None:
    tenancy = Tenancy().ocid
    with pytest.raises(CallFailedError, match="expected a JSON list"):
        client.whole(Call("identity", REGION, f"/compartments/{tenancy}", about="x"))


def test_a_region_that_cannot_be_a_host_name_is_refused(client: Client) -> None:
    client._options = Options()
    with pytest.raises(ConfigError, match="region 'no where'"):
        client.all(Call("iaas", "no where", "/instances", about="x"))
