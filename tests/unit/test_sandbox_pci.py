"""The simulated PCI bus has sysfs's form."""

from pathlib import Path

import pytest

from sandbox import pci
from sandbox.paths import SandboxError

A10 = pci.Device("0000:0f:00.0", 0x10DE, 0x2236, pci.GPU_3D)


def test_ids_are_counted_out() -> None:
    assert pci.expand(["2x10de:2330", "10de:22a3"]) == ("10de:2330", "10de:2330", "10de:22a3")


@pytest.mark.parametrize("bad", ["10de", "10DE:2236", "0x10de:2236", "10de:2236 x2", ""])
def test_a_malformed_id_is_refused_and_named(bad: str) -> None:
    with pytest.raises(SandboxError, match=": expected ") as caught:
        pci.expand([bad])
    assert repr(bad) in str(caught.value)


def test_attributes_read_like_the_kernels() -> None:
    files = pci.attributes(A10)
    assert files["vendor"] == b"0x10de\n"
    assert files["device"] == b"0x2236\n"
    assert files["class"] == b"0x030200\n"
    assert files["modalias"] == b"pci:v000010DEd00002236sv000010DEsd00002236bc03sc02i00\n"
    config = files["config"]
    assert len(config) == 256
    assert config[0:4] == bytes.fromhex("de103622")
    assert config[0x09:0x0C] == bytes.fromhex("000203")  # interface, subclass, class


def test_gpus_and_switches_have_their_classes_and_addresses_of_their_own(tmp_path: Path) -> None:
    pci.write_tree(tmp_path, pci.devices(["10de:2330"] * 8, ["10de:22a3"] * 4))
    found = {
        path.name: ((path / "class").read_text().strip(), (path / "device").read_text().strip())
        for path in (tmp_path / "devices").iterdir()
    }
    assert list(found.values()).count(("0x030200", "0x2330")) == 8
    assert list(found.values()).count(("0x068000", "0x22a3")) == 4
    assert len(found) == 8 + 4 + 2  # and a host bridge and a network card
    assert (tmp_path / "slots").is_dir()


def test_a_host_without_gpus_still_has_a_bus(tmp_path: Path) -> None:
    pci.write_tree(tmp_path, pci.devices([]))
    vendors = {path.read_text() for path in tmp_path.glob("devices/*/vendor")}
    assert vendors == {"0x8086\n", "0x1af4\n"}
