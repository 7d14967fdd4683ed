"""Downloads, with a limit on size and time; nothing of a proxy or a redirect is trusted."""

import base64
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

from .base import OperationError

CHUNK = 1 << 16
TRIES = 3
PASSING = (408, 425, 429, *range(500, 600))  # what a server may answer differently in a moment
PAUSE_SECONDS = 2
ANSWER_SECONDS = 30  # to wait for a server's next bytes
# Of this process: whether it fetches now, and whether it may no longer.
STATE = {"fetching": False, "stopped": False}


def stop():
    """End a download that is under way, and begin none from now on; for signal handlers."""
    STATE["stopped"] = True
    if STATE["fetching"]:
        raise _stopped()


def _stopped():
    return OperationError("E_FETCH", "the download was stopped, because the run failed before")


def without_secrets(url):
    """Return an address as messages show it."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def _request(url):
    """Return the request for an address; a name and a password in it become a header."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise OperationError("E_FETCH", "%s is no http or https address" % without_secrets(url))
    login, _, host = parts.netloc.rpartition("@")
    address = urllib.parse.urlunsplit(parts._replace(netloc=host))
    request = urllib.request.Request(address)  # noqa: S310 - checked above
    if login:
        plain = urllib.parse.unquote(login).encode("utf-8")
        words = "Basic " + base64.b64encode(plain).decode("ascii")
        request.add_unredirected_header("Authorization", words)
    return request


def _pour(url, stream, limit, deadline):
    """Copy an answer into a stream and return its size."""
    size = 0
    answer = urllib.request.urlopen(_request(url), timeout=ANSWER_SECONDS)  # noqa: S310
    try:
        while True:
            block = answer.read(CHUNK)
            if not block:
                break
            size += len(block)
            if size > limit:
                raise OperationError(
                    "E_FETCH", "%s is larger than %d bytes" % (without_secrets(url), limit)
                )
            if time.monotonic() > deadline:
                raise OperationError("E_FETCH", "%s came too slowly" % without_secrets(url))
            stream.write(block)
        expected = answer.headers.get("Content-Length")
        if expected is not None and expected.isdigit() and int(expected) != size:
            raise urllib.error.URLError("%d of %s bytes arrived" % (size, expected))
    finally:
        answer.close()
    return size


def _reason(error):
    """Return why a download failed, without the names of Python's classes."""
    if isinstance(error, urllib.error.HTTPError):
        return "HTTP status %d %s" % (error.code, error.reason)
    inner = getattr(error, "reason", error)
    return getattr(inner, "strerror", None) or str(inner)


def fetch(url, stream, limit, seconds):
    """Copy what is at an address into a stream, from its start; a fault of the moment is retried.

    Args:
        url: http or https.
        stream: binary, can be emptied.
        limit: bytes.
        seconds: for the whole of it.

    """
    STATE["fetching"] = True
    try:
        if STATE["stopped"]:
            raise _stopped()
        _fetch(url, stream, limit, time.monotonic() + seconds)
    finally:
        STATE["fetching"] = False


def _fetch(url, stream, limit, deadline):
    for attempt in range(TRIES):
        stream.seek(0)
        stream.truncate()
        try:
            _pour(url, stream, limit, deadline)
        except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
            final = isinstance(error, urllib.error.HTTPError) and error.code not in PASSING
            refused = isinstance(getattr(error, "reason", None), socket.gaierror)
            if final or refused or attempt + 1 == TRIES or time.monotonic() > deadline:
                text = "%s cannot be fetched: %s" % (without_secrets(url), _reason(error))
                raise OperationError("E_FETCH", text) from error
            time.sleep(PAUSE_SECONDS)
        else:
            stream.flush()
            return
