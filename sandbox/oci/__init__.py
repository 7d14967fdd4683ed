"""A substitute for the OCI API on loopback: the real SDK talks to it, with real signatures.

``ensure(hosts, root)`` starts it for given hosts and says how to reach it; ``stop(root)`` ends
it. On the command line: ``python -m sandbox.oci serve``.
"""

from sandbox.oci.control import ensure, stop

__all__ = ["ensure", "stop"]
