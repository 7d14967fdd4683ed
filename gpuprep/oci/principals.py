"""Sign in without a key of one's own: as an instance, for a user, or as another OCI resource.

The SDK's signers do it. Here is what they leave open: patience with an end, and for each failure
a message that holds no key, certificate or token.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError, InventoryError
from gpuprep.oci.oci_errors import clock_advice, network_reason
from gpuprep.oci.sdk import sdk
from gpuprep.oci.tokens import refuse_expired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.oci.options import Options
    from gpuprep.oci.profile import Profile

KINDS: Final = frozenset(
    {"instance_principal", "instance_obo_user", "resource_principal", "oke_workload_identity"}
)
# What to do about a token that OCI accepts no longer.
RENEWAL: Final[Mapping[str, str]] = {
    "instance_principal": "repeat in a few minutes: OCI renews the instance's certificate",
    "instance_obo_user": "get a new delegation token; in Cloud Shell, reconnect",
    "resource_principal": "OCI renews it where the program runs; start the program again there",
    "oke_workload_identity": "start the pod again: OCI renews its token",
}
_ELSEWHERE: Final = "elsewhere use auth_type: api_key"
_METADATA_SECONDS: Final = 2.0  # the service is on the instance's own hypervisor
_ATTEMPTS: Final = 3
_NOT_FOUND: Final = 404


def sign_in(kind: str, options: Options, profile: Profile) -> Any:  # noqa: ANN401 - an SDK object
    """Make the SDK's signer for a principal; it has a token when this returns.

    Args:
        kind: one of ``KINDS``.
        options: for the endpoint.
        profile: for the file of the delegation token.

    Raises:
        ConfigError: a token or variable is wrong or missing.
        InventoryError: not on OCI, or OCI refuses.

    """
    try:
        if kind == "resource_principal":
            return _resource()
        if kind == "oke_workload_identity":
            return sdk().auth.signers.get_oke_workload_identity_resource_principal_signer()
        if kind == "instance_obo_user":
            return _for_user(options, profile)
        signers = sdk().auth.signers
        return _as_instance(signers.InstancePrincipalsSecurityTokenSigner, kind, options)
    except (ConfigError, InventoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the SDK raises anything here
        place = "instance" if kind.startswith("instance") else "resource"
        raise InventoryError(
            f"auth_type {kind} does not work here ({reason(error)}). It needs an OCI {place} that "
            f"belongs to a dynamic group; {_ELSEWHERE}"
        ) from None


def reason(error: Exception) -> str:
    """Return in short what a signer complains of.

    Only texts that quote no answer: one of the sign-in service may hold a token, one of the
    metadata service a key.
    """
    text = next((one for one in error.args if isinstance(one, str)), "")
    quoting = isinstance(error, RuntimeError) or not text
    return type(error).__name__ + ("" if quoting else f": {text}")


def _for_user(options: Options, profile: Profile) -> Any:  # noqa: ANN401 - an SDK object
    kind = "instance_obo_user"
    path, content = profile.read("delegation_token_file", "delegation_token_file")
    token = content.decode("ascii", "replace").strip()
    refuse_expired(token, f"the delegation token {path}", RENEWAL[kind])
    make = sdk().auth.signers.InstancePrincipalsDelegationTokenSigner
    return _as_instance(make, kind, options, delegation_token=token)


def _as_instance(make: Any, kind: str, options: Options, **more: str) -> Any:  # noqa: ANN401 - SDK's
    oci = sdk()
    metadata = _metadata(kind)
    try:
        return make(
            federation_endpoint=options.federation_endpoint,
            retry_strategy=_patience(_NOT_FOUND),  # a new instance has no certificate yet
            federation_client_retry_strategy=_patience(),
            federation_client_circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
            **more,
        )
    except oci.exceptions.ServiceError as error:
        raise _refused(kind, metadata, error) from None
    except oci.base_client.requests.exceptions.RequestException as error:
        url = error.request.url if error.request is not None else "OCI"
        raise InventoryError(f"auth_type {kind}: {url}: {network_reason(error)}") from None


def _metadata(kind: str) -> str:
    """Return the base URL of the metadata service.

    Asked first and with little patience: the SDK would wait for a service that is not there up to
    minutes.
    """
    signer = sdk().auth.signers.InstancePrincipalsSecurityTokenSigner
    requests = sdk().base_client.requests
    named = os.environ.get(signer.METADATA_URL_BASE_ENV_VAR, "").strip()
    # SDKs before 2026 know no metadata service over IPv6.
    over_ipv6 = getattr(signer, "DEFAULT_METADATA_URL_BASE_IPV6", None)
    bases = [named] if named else [signer.DEFAULT_METADATA_URL_BASE, *filter(None, [over_ipv6])]
    found = []
    for base in bases:
        try:
            answer = requests.get(
                f"{base}/instance/region",
                headers=signer.METADATA_AUTH_HEADERS,
                timeout=_METADATA_SECONDS,
            )
        except requests.exceptions.RequestException as error:
            silent = isinstance(error, requests.exceptions.Timeout)
            found.append(f"no answer in {_METADATA_SECONDS:.0f} s" if silent else "no connection")
            continue
        if answer.ok or answer.status_code >= 500 or answer.status_code == 429:  # noqa: PLR2004 - HTTP
            return base  # busy is there too: the SDK asks again
        found.append(f"HTTP {answer.status_code}")
    proxy = requests.utils.get_environ_proxies(bases[0])
    hint = ". A proxy is set for it: add its address to no_proxy" if proxy else ""
    raise InventoryError(
        f"auth_type {kind} does not work here: no metadata service of OCI at {bases[0]} "
        f"({found[0]}{hint}). Only OCI instances have one; {_ELSEWHERE}"
    )


def _patience(*statuses: int) -> Any:  # noqa: ANN401 - an SDK object
    """Repeat what may pass, for a few seconds; the SDK's own strategies take minutes."""
    return (
        sdk()
        .retry.RetryStrategyBuilder(retry_base_sleep_time_seconds=0.25, decorrelated_jitter=0.25)
        .add_max_attempts(_ATTEMPTS)
        .add_total_elapsed_time(total_elapsed_time_seconds=5)
        .add_service_error_check(
            service_error_retry_config={status: [] for status in (-1, 429, *statuses)},
            service_error_retry_on_any_5xx=True,
        )
        .get_retry_strategy()
    )


def _refused(kind: str, metadata: str, error: Any) -> InventoryError:  # noqa: ANN401 - SDK's type
    if metadata in str(error.message):
        return InventoryError(
            f"auth_type {kind}: the metadata service {metadata} gives no certificate "
            f"(HTTP {error.status}). Repeat in a few minutes if the instance is new"
        )
    told = f"{error.status} {error.code}: {str(error.message or 'no reason given').strip()}"
    outcome, advice = "does not work now", "Repeat later"
    if error.status < 500 and error.status != 429:  # noqa: PLR2004 - HTTP
        outcome = "does not accept this instance"
        usual = f"The clock is right: {RENEWAL['instance_principal']}; or use auth_type: api_key"
        advice = clock_advice(error.headers.get("date")) or usual
    return InventoryError(
        f"auth_type {kind}: OCI's sign-in service {outcome}: "
        f"{told} (opc-request-id {error.request_id or 'none'}). {advice}"
    )


def _resource() -> Any:  # noqa: ANN401 - an SDK object
    kind = "resource_principal"
    version = os.environ.get("OCI_RESOURCE_PRINCIPAL_VERSION")
    if not version:
        raise InventoryError(
            f"auth_type {kind} does not work here: OCI_RESOURCE_PRINCIPAL_VERSION is not set. OCI "
            f"sets it for functions, jobs and the like; {_ELSEWHERE}"
        )
    if version == "2.2":
        for name in ("OCI_RESOURCE_PRINCIPAL_RPST", "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM"):
            _check_variable(name)
    signer = sdk().auth.signers.get_resource_principals_signer()
    token = str(getattr(signer, "api_key", ""))
    refuse_expired(token, "the resource principal's session token", RENEWAL[kind])
    return signer


def _check_variable(name: str) -> None:
    """Check a variable that holds a secret itself, or the absolute path of its file."""
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set; auth_type resource_principal needs it")
    if value.startswith("/"):
        try:
            Path(value).read_bytes()
        except OSError as error:
            raise ConfigError(f"{name} names {value}: {error.strerror}") from None
