"""The floor: the very observation that gpuprep sends, by plain ssh, and nothing around it.

    python -m bench.floor HOSTS.json SCRIPT PARALLEL CONTROL_DIRECTORY|-

Prints how many hosts answered with an observation.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path


async def _ask(argv: list[str], script: bytes, turn: asyncio.Semaphore) -> bool:
    async with turn:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate(script)
    # Only as much as tells an observation from anything else: reading it is not ssh's business.
    return process.returncode == 0 and b'"boot_id"' in out and out.rstrip().endswith(b"}")


async def _all(commands: list[list[str]], script: bytes, parallel: int) -> int:
    turn = asyncio.Semaphore(parallel)
    answers = await asyncio.gather(*(_ask(argv, script, turn) for argv in commands))
    return sum(answers)


def main() -> None:
    """Ask all hosts."""
    described, script, parallel, control = sys.argv[1:]
    document = json.loads(Path(described).read_text())
    masters = (
        ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        if control == "-"
        else [
            *("-o", "ControlMaster=auto", "-o", "ControlPersist=300"),
            *("-o", f"ControlPath={control}/%C"),
        ]
    )
    commands = [
        ["ssh", "-F", "none", *masters, *document["options"], "-p", str(port), address, "--",
         document["command"]]
        for address, port in document["hosts"]
    ]  # fmt: skip
    print(asyncio.run(_all(commands, Path(script).read_bytes(), int(parallel))))  # noqa: T201


if __name__ == "__main__":
    main()
