"""Signed requests to OCI: paging, retries, and as many at once as the service bears.

Raw JSON through the SDK's base client: its signers, realms and proxies, without its 500 MB of
model classes. One client per thread, since the SDK promises no thread safety.
"""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar, cast

from gpuprep.errors import ConfigError, InventoryError
from gpuprep.oci import answers, principals
from gpuprep.oci.oci_errors import clock_advice, clock_skew, network_reason, no_capacity
from gpuprep.oci.sdk import sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gpuprep.oci.options import Options
    from gpuprep.oci.signin import Identity

Service = Literal["iaas", "identity", "limits"]
Method = Literal["GET", "POST", "PUT", "DELETE"]
Json = dict[str, Any]
T = TypeVar("T")

PAGE: Final = 1000
_BASE_PATHS: Final[Mapping[Service, str]] = {
    "iaas": "/20160918", "identity": "/20160918", "limits": "/20190729",
}  # fmt: skip
# Source: the SDK's own clients (oci 2.189).
_TEMPLATES: Final[Mapping[Service, str]] = {
    "iaas": "https://iaas.{region}.{secondLevelDomain}",
    "identity": "https://identity.{region}.oci.{secondLevelDomain}",
    "limits": "https://limits.{region}.oci.{secondLevelDomain}",
}
_CONNECT_SECONDS: Final = 10
_BUSY: Final = 429
_CONFLICTS: Final = frozenset({"IncorrectState", "LockConflict"})
_LONGEST_WAIT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        service: whose endpoint.
        region: e.g. ``us-ashburn-1``.
        path: behind the base path: ``/instances``.
        params: query.
        about: compartment, subnet or host it is for, in words.
        policy: what a policy must allow: ``read instance-family in compartment gpu``.
        method: HTTP method; only ``GET`` changes nothing.
        body: JSON that is sent.
        token: ``opc-retry-token``: with it, a repeated request is one request to the service.

    """

    service: Service
    region: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    policy: str = ""
    method: Method = "GET"
    body: Mapping[str, Any] | None = None
    token: str | None = None

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no more than sending it once."""
        return self.method in {"GET", "PUT", "DELETE"} or self.token is not None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for a request that was carried out; ``data`` is None when it is nothing."""

    data: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back instead of data.

    Attributes:
        status: HTTP status; None when no answer came.
        code: OCI's error code, or what happened instead.
        text: OCI's message, or what to check.
        request_id: ``opc-request-id``, for Oracle's support.

    """

    status: int | None
    code: str
    text: str
    request_id: str = "none"


class CallFailedError(InventoryError):
    """A request failed for good; tells endpoint, subject, answer and request id."""

    def __init__(self, call: Call, endpoint: str, answer: Answer) -> None:
        self.call = call
        self.answer = answer
        outcome = f"{answer.status} {answer.code}" if answer.status else answer.code
        super().__init__(
            f"{call.method} {endpoint}{call.path} for {call.about}: {outcome}: {answer.text} "
            f"(opc-request-id {answer.request_id})"
        )

    @property
    def hidden(self) -> bool:
        """Not there, or not to be seen by us: OCI does not tell which."""
        return self.answer.status == 404  # noqa: PLR2004 - HTTP

    def statement(self, principal: str) -> str | None:
        """Return the policy statement that would let the request pass, if that is what it needs."""
        return f"Allow {principal} to {self.call.policy}" if self.hidden else None


class Gate:
    """Lets so many through at a time; narrows when the service asks for less."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Wait for a place and hold it."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self.width)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify()

    def narrow(self) -> None:
        """Halve the width."""
        with self._changed:
            self.width = max(1, self.width // 2)


class Client:
    """Sends calls for one identity."""

    def __init__(
        self,
        identity: Identity,
        options: Options,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.identity = identity
        self.requests = 0
        self.skew: float | None = None  # seconds this machine's clock is ahead of the service's
        self._options = options
        self._sleep = sleep
        self._gate = Gate(options.workers)
        self._local = threading.local()
        self._counting = threading.Lock()

    def get(self, call: Call) -> Json:
        """Fetch one object.

        Raises:
            CallFailedError: refused, not found, or no answer in time.

        """
        return _shaped(call, self._send(call, call.params).data, dict)

    def change(self, call: Call) -> Reply:
        """Send a request that changes something.

        Repeated only where that cannot do it twice. That no host is free is not repeated at all.

        Raises:
            CallFailedError: as for ``get``.

        """
        reply = self._send(call, call.params)
        if reply.data is not None:
            _shaped(call, reply.data, dict)
        return reply

    def text(self, call: Call) -> str:
        """Fetch a text; errors as for ``get``."""
        return str(self._send(call, call.params, plain=True).data)

    def whole(self, call: Call) -> list[Json]:
        """Fetch a list that has no pages; errors as for ``get``."""
        return _shaped(call, self._send(call, call.params).data, list)

    def pages(self, call: Call) -> Iterator[list[Json]]:
        """Fetch a list page by page; stop iterating to save the rest.

        Raises:
            CallFailedError: refused, not found, no answer in time, or an answer that is no list.

        """
        params = {**call.params, "limit": PAGE}
        while True:
            try:
                reply = self._send(call, params)
            except CallFailedError as error:
                if error.answer.code != "InvalidParameter" or "limit" not in params:
                    raise
                params.pop("limit")  # the service wants smaller pages: let it choose
                continue
            # The newer services wrap their lists.
            rows = reply.data.get("items") if isinstance(reply.data, dict) else reply.data
            yield _shaped(call, rows, list)
            following = reply.headers.get("opc-next-page")
            if not following:
                return
            params["page"] = following

    def all(self, call: Call) -> list[Json]:
        """Fetch a whole list; errors as for ``pages``."""
        return [item for page in self.pages(call) for item in page]

    def _send(self, call: Call, params: Mapping[str, Any], *, plain: bool = False) -> Reply:
        attempt = 1
        while True:
            try:
                with self._gate.passing():
                    return self._try(call, params, plain=plain)
            except _RetryableError as error:
                if error.busy:
                    self._gate.narrow()
                done_at_most_once = call.repeatable or error.refused
                if attempt >= self._options.max_attempts or not done_at_most_once:
                    raise error.final from None
                self._sleep(error.wait or _backoff(attempt))
                attempt += 1

    def _try(self, call: Call, params: Mapping[str, Any], *, plain: bool) -> Reply:
        oci = sdk()
        base = self._base(call.service, call.region)
        with self._counting:
            self.requests += 1
        try:
            response = base.call_api(
                call.path,
                call.method,
                query_params=dict(params),
                header_params=_headers(call, plain=plain),
                body=dict(call.body) if call.body is not None else None,
                response_type="bytes",
            )
        except oci.exceptions.ServiceError as error:
            self._refused(call, base.endpoint, error)
        except oci.base_client.requests.exceptions.RequestException as error:
            silence = Answer(None, "no answer", network_reason(error))
            raise _RetryableError(CallFailedError(call, base.endpoint, silence)) from None
        except ValueError as error:
            raise self._no_endpoint(call.region, error) from None
        except Exception as error:
            if self.identity.auth_type not in principals.KINDS:
                raise
            # Their signers renew the token when it is time, and raise anything.
            unrenewed = Answer(None, "the token cannot be renewed", principals.reason(error))
            raise CallFailedError(call, base.endpoint, unrenewed) from None
        self.skew = clock_skew(response.headers.get("date"))
        content = response.data or b""
        if plain:
            return Reply(content.decode("utf-8", "replace"), response.headers)
        if not content and call.method != "GET":
            return Reply(None, response.headers)
        try:
            return Reply(json.loads(content), response.headers)
        except ValueError as error:
            cut = Answer(None, "cut short", f"the answer is no JSON ({error})")
            raise _RetryableError(CallFailedError(call, base.endpoint, cut)) from None

    def _refused(self, call: Call, endpoint: str, error: Any) -> NoReturn:  # noqa: ANN401 - SDK's type
        text = str(error.message or "").strip() or "no reason given"
        if error.status == 401:  # noqa: PLR2004 - HTTP
            text = f"{text}. {self._why_unauthenticated(error)}"
        answer = Answer(error.status, str(error.code), text, str(error.request_id or "none"))
        failed = CallFailedError(call, endpoint, answer)
        busy = error.status == _BUSY
        conflict = error.status == 409 and error.code in _CONFLICTS  # noqa: PLR2004 - HTTP
        if busy or conflict or (error.status >= 500 and not no_capacity(answer.code, text)):  # noqa: PLR2004 - HTTP
            raise _RetryableError(
                failed, busy=busy, wait=_asked_wait(error.headers), refused=busy or conflict
            ) from None
        raise failed from None

    def _why_unauthenticated(self, error: Any) -> str:  # noqa: ANN401 - SDK's type
        wrong = clock_advice(error.headers.get("date"))
        if wrong:
            return wrong
        if self.identity.auth_type == "api_key":
            who = self.identity.config
            return (
                f"The clock is right. Check in the console that user {who['user']} of tenancy "
                f"{who['tenancy']} is active and has an API key {who['fingerprint']}"
            )
        renewal = principals.RENEWAL.get(self.identity.auth_type, "sign in again")
        return f"The clock is right. The token may have expired or been revoked: {renewal}"

    def _base(self, service: Service, region: str) -> Any:  # noqa: ANN401 - SDK's type
        clients = self._local.__dict__.setdefault("clients", {})
        if (service, region) not in clients:
            clients[service, region] = self._new_base(service, region)
        return clients[service, region]

    def _new_base(self, service: Service, region: str) -> Any:  # noqa: ANN401 - SDK's type
        oci = sdk()
        endpoint = self._options.service_endpoint
        # The profile's own log_requests stays out: it would print signatures to stdout.
        config = {**self.identity.config, "region": region, "additional_user_agent": "gpuprep"}
        try:
            return oci.base_client.BaseClient(
                service,
                config,
                self.identity.signer,
                {},
                base_path=_BASE_PATHS[service],
                service_endpoint=endpoint.replace("{region}", region) if endpoint else None,
                service_endpoint_template=_TEMPLATES[service],
                service_endpoint_template_per_realm={},
                endpoint_service_name=service,
                timeout=(_CONNECT_SECONDS, self._options.timeout),
                circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
            )
        except oci.exceptions.InvalidConfig as error:
            wrong = ", ".join(f"{key} is {state}" for key, state in dict(error.errors).items())
            raise ConfigError(f"OCI configuration: {wrong}") from None
        except ValueError as error:
            raise self._no_endpoint(region, error) from None

    def _no_endpoint(self, region: str, error: ValueError) -> ConfigError:
        endpoint = self._options.service_endpoint
        return ConfigError(f"region {region!r} or service_endpoint {endpoint!r}: {error}")


def _shaped(call: Call, found: Any, kind: type[T]) -> T:  # noqa: ANN401 - JSON
    if not isinstance(found, kind):
        wrong: str | None = f"expected a JSON {kind.__name__}, got {type(found).__name__}"
    else:
        rows = found if isinstance(found, list) else [found]
        wrong = next(filter(None, (answers.wrong_with(row, call.path) for row in rows)), None)
    if wrong:
        raise CallFailedError(call, call.service, Answer(None, "not OCI's answer", wrong))
    return cast("T", found)


class _RetryableError(Exception):
    """A failure that may pass; ``final`` is what to raise when it does not.

    ``refused`` says that the service has surely not begun.
    """

    def __init__(
        self,
        final: CallFailedError,
        *,
        busy: bool = False,
        wait: float = 0.0,
        refused: bool = False,
    ) -> None:
        self.refused = refused
        self.final = final
        self.busy = busy
        self.wait = wait
        super().__init__(str(final))


def _headers(call: Call, *, plain: bool) -> dict[str, str]:
    found = {"accept": "text/plain" if plain else "application/json"}
    if call.method != "GET":
        found["content-type"] = "application/json"
    if call.token is not None:
        found["opc-retry-token"] = call.token
    return found


def _backoff(attempt: int) -> float:
    """Seconds to wait: 0.5, 1, 2, ... at most 30, less up to half at random."""
    longest: float = min(_LONGEST_WAIT, 0.5 * 2 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, no secret


def _asked_wait(headers: Mapping[str, str]) -> float:
    try:
        return min(_LONGEST_WAIT, max(0.0, float(headers.get("retry-after", "0"))))
    except ValueError:
        return 0.0
