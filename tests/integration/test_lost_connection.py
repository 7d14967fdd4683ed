"""ssh is killed in the middle of a package transaction: it ends by itself, the next run goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stranger import Played, Stranger

if TYPE_CHECKING:
    from lab import Fresh, Lab

pytestmark = pytest.mark.sandbox

# The transaction itself, not its simulation; the brackets keep the pattern from finding itself.
UNDER_WAY = "until pgrep -f 'apt-get install .* -y .*[n]vidia-open-' >/dev/null; do sleep 0.1; done"

# Long enough for the second run to come while it is under way.
SLOW = """
echo 'DPkg::Pre-Invoke { "/usr/local/bin/slow"; };' >/etc/apt/apt.conf.d/99slow
cat >/usr/local/bin/slow <<'EOF'
#!/bin/sh
! pgrep -f 'apt-get install .* -y .*[n]vidia-open-' >/dev/null || sleep 30
EOF
chmod +x /usr/local/bin/slow
"""


def kill_clients_of(address: str) -> int:
    """Kill the ssh clients on this machine that talk to an address."""
    killed = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == "ssh" and address in words:
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


def test_a_transaction_outlives_its_connection(lab: Lab, fresh: Fresh, tmp_path: Path) -> None:
    name = fresh(gpus=["10de:2236"])
    lab.sh(name, SLOW)
    stranger = Stranger(lab, tmp_path)
    first: list[Played] = []
    run = threading.Thread(target=lambda: first.append(stranger.roles(name, "gpu_driver")))
    run.start()
    lab.sh(name, UNDER_WAY)
    assert kill_clients_of(lab.address(name)) > 0
    run.join(timeout=60)
    assert (first[0].code, first[0].stats["unreachable"]) == (4, 1), first[0].text
    lab.sh(name, UNDER_WAY)  # it goes on
    second = stranger.roles(name, "gpu_driver")
    assert second.code == 0, second.text
    assert "which an earlier run began: it ended well" in second.text
    # One transaction: the second run found it made.
    history = lab.run(name, "cat", "/var/log/apt/history.log")
    assert (
        len(re.findall(r"^Commandline: apt-get install .*nvidia-open-", history, re.MULTILINE)) == 1
    )
    # Neither the program nor its environment is left.
    assert "request.json" not in lab.run(name, "find", "/run/gpuprep")
    assert stranger.roles(name, "gpu_driver").changed == 0
