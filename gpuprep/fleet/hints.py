"""What to do about a connection that ssh did not make, by ssh's own words. Pure."""

from __future__ import annotations

import re
from typing import Final

_CHANGED: Final = (
    "Another machine answers at this address, or the host was made anew. Compare the new key with"
    " the one in the host's console log; if they are equal, ssh-keygen -R removes the old one"
)
_UNKNOWN: Final = (
    "The host's key is not known here. Put the key from the host's console log into known_hosts;"
    " docs/cli.md, Host keys, says how"
)
_DENIED: Final = (
    "The host refuses the login. Name its user (-u or ansible_user) and that user's key"
    " (--private-key or an ssh agent)"
)
_HINTS: Final = {
    "host key .*has changed|remote host identification has changed": _CHANGED,
    "host key verification failed|no .*host key is known|not found in known_hosts": _UNKNOWN,
    "authenticity of host .*can't be established": _UNKNOWN,
    r"permission denied \(": _DENIED,
}


def with_hint(text: str) -> str:
    """Return why a host cannot be reached, with what to do where ssh's words tell it."""
    for pattern, hint in _HINTS.items():
        if re.search(pattern, text, re.IGNORECASE):
            return f"{text.rstrip('.')}. {hint}"
    return text
