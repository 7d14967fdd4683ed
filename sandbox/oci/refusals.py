"""Answers that are errors: HTTP status, OCI's code, OCI's words."""

from __future__ import annotations

from typing import Final

# What a status means when nothing else is said. One status has several codes at OCI, so whoever
# knows better gives the code: ``RefusedError(400, text, code="LimitExceeded")``.
USUAL: Final = {
    400: ("InvalidParameter", "The parameter is not valid."),
    401: ("NotAuthenticated", "Failed to verify the HTTP(S) Signature"),
    404: ("NotAuthorizedOrNotFound", "Authorization failed or requested resource not found."),
    409: ("IncorrectState", "The resource is in a state that conflicts with the request."),
    412: ("NoEtagMatch", "The etag does not match that of the resource."),
    429: ("TooManyRequests", "Too many requests for the user"),
    500: ("InternalServerError", "Internal Server Error"),
    501: ("NotImplemented", "the emulator cannot do that"),
    503: ("ServiceUnavailable", "Service unavailable"),
}
# Sources: issues jpetazzo/ampernetacle 23 and 54, hitrov/oci-arm-host-capacity 104 and 142.
NO_CAPACITY: Final = (500, "InternalError", "Out of host capacity.")
LIMIT_TEXT: Final = (
    "The following service limits were exceeded: {names}. Request a service limit increase from "
    "the service limits page in the console. "
)


class RefusedError(Exception):
    """An answer that is an error: HTTP status, OCI's code and message."""

    def __init__(self, status: int, message: str | None = None, code: str | None = None) -> None:
        usual_code, usual_text = USUAL.get(status, (str(status), "refused"))
        self.status = status
        self.code = code or usual_code
        self.message = message or usual_text
        super().__init__(self.message)


def no_capacity() -> RefusedError:
    """Return what OCI says when no host of the shape is free: a 500 that no repetition cures."""
    status, code, text = NO_CAPACITY
    return RefusedError(status, text, code)


def hidden(kind: str, ocid: str) -> RefusedError:
    """Return what OCI says of a resource in a body that is not there, or not to be seen."""
    text = f"Authorization failed or related resource not found: {kind} {ocid}"
    return RefusedError(400, text, "RelatedResourceNotAuthorizedOrNotFound")
