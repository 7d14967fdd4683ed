"""Files of a job: written whole or not at all, checked before use."""

import hashlib
import json
import os

BLOCK = 1 << 20


def write_json(path, data):
    """Write a JSON file so that nobody ever reads half of it."""
    fresh = "%s.%d.new" % (path, os.getpid())
    with open(fresh, "w", encoding="utf-8") as handle:
        json.dump(data, handle, indent=1, sort_keys=True)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(fresh, path)


def read_json(path):
    """Return what a JSON file says, None where there is none to read."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except (OSError, ValueError):
        return None


def sha256(path):
    """Return the SHA-256 of a file, as hex digits."""
    found = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def digest_of(data):
    """Return the SHA-256 of data that JSON can hold."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("utf-8")).hexdigest()
