"""Text that a host, a package or Ansible wrote, made safe to show.

What comes from outside passes :func:`clean` where it enters; terminals, reports and templates then
need no care of their own.
"""

from __future__ import annotations

import re
from typing import Final

LIMIT: Final = 64 << 10  # characters of one string; compiler messages are the longest honest ones
CUT: Final = " … (cut)"
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

# ECMA-48: operating system commands (title, clipboard) and control sequences (colour, cursor).
_SEQUENCES: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
)
# C0 but newline and tab, DEL, C1; marks and overrides of direction; halves of surrogate pairs.
_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(text: str, limit: int = LIMIT) -> str:
    """Return a text without control characters, cut to a length.

    Colours and other terminal sequences vanish, any other control character becomes U+FFFD;
    newline and tab stay. Clean text comes back as it is.

    Args:
        text: what somebody else wrote.
        limit: characters that are kept.

    """
    if len(text) > limit:
        text = text[: max(limit - len(CUT), 0)] + CUT
    if not _HARMFUL.search(text):
        return text
    return _HARMFUL.sub(_REPLACEMENT, _SEQUENCES.sub("", text.replace("\r\n", "\n")))


def clean_line(text: str, limit: int = 400) -> str:
    """Return a text on one line, clean and cut, as for a name or within a message."""
    return clean(" ".join(text[: limit * 4].split()), limit)
