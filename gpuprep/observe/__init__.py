"""The observation: what a host says of itself in one read-only round trip.

:func:`script` gives the program that is fed to the host's Python; :func:`read` makes the typed
:class:`HostObservation` of its answer, the only reader of it; :func:`facts` takes from that what
the resolver needs.
"""

from gpuprep.observe.host_facts import facts
from gpuprep.observe.observation import (
    Conda,
    CondaEnvironment,
    DiskModule,
    FileFacts,
    HostObservation,
    InstalledPackage,
)
from gpuprep.observe.program import INTERPRETER_FLAGS, new_marker, script
from gpuprep.observe.reading import ObservationError, read

__all__ = [
    "INTERPRETER_FLAGS",
    "Conda",
    "CondaEnvironment",
    "DiskModule",
    "FileFacts",
    "HostObservation",
    "InstalledPackage",
    "ObservationError",
    "facts",
    "new_marker",
    "read",
    "script",
]
