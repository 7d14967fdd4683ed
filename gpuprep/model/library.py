"""msgspec, which makes, reads and writes our values fast; None where it is not installed.

It comes with the Python package. The collection that Galaxy has works with ansible-core alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import msgspec
else:
    try:
        import msgspec
    except ImportError:
        msgspec: Any = None

__all__ = ["msgspec"]
