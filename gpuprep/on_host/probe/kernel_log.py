"""Driver errors (Xid) in the kernel's log since boot."""

import errno
import os
import re

LIMIT = 50  # events kept; a broken GPU can write thousands
RECORD = 8192  # /dev/kmsg gives one record per read
MARK = b"NVRM: Xid"
XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)[^)]*\): (\d+)[, ]*(.*)")


def collect(path="/dev/kmsg"):
    """Read the ring buffer without waiting. Gives ``readable``, ``events``, ``total``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return {"readable": False, "why": str(error), "events": [], "total": 0}
    events = []
    total = 0
    try:
        for record in records(descriptor):
            if MARK not in record:
                continue
            event = parse(record.decode("utf-8", "replace"))
            if event is not None:
                total += 1
                events.append(event)
                del events[:-LIMIT]
    except OSError as error:
        return {"readable": False, "why": str(error), "events": events, "total": total}
    finally:
        os.close(descriptor)
    return {"readable": True, "events": events, "total": total}


def records(descriptor):
    """Return the lines of the ring buffer, as bytes, up to its present end."""
    while True:
        try:
            record = os.read(descriptor, RECORD)
        except OSError as error:
            if error.errno == errno.EPIPE:  # overwritten while reading: the next one is there
                continue
            if error.errno == errno.EAGAIN:
                return
            raise
        if not record:
            return
        for line in record.split(b"\n"):
            yield line


def parse(line):
    """Return code, GPU and text of an Xid line; None for another line."""
    found = XID.search(line)
    if found is None:
        return None
    slot, code, text = found.groups()
    return {"code": int(code), "slot": slot.lower(), "text": text.strip()[:300]}
