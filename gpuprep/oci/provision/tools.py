"""What a run needs besides the cloud."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.oci.provision import reach as reaching

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuprep.oci.provision.reach import Reach


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run needs besides the cloud; tests bring their own.

    Attributes:
        sleep: wait so many seconds.
        clock: seconds, monotonic.
        reach: tries to log in.
        tell: told what happens, in words.
        poll: seconds between two looks.

    """

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    reach: Reach = reaching.by_ssh
    tell: Callable[[str], None] = lambda _words: None
    poll: float = 5.0
