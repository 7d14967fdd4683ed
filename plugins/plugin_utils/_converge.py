"""Private: operations sent to one host, and its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep import codes
from gpuprep.observe import converge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible.plugins.action import ActionBase

LOCK_SECONDS = 600
# The host's own clock ends what hangs; a transaction that is under way goes on by itself.
SECONDS = 6 * 3600
SHORT_SECONDS = 900
LOOKING = ("the observation", "the step")  # the words of what looks, for what works


def refuse_twins(machine: str, host: str) -> None:
    """Refuse a machine that this run knows by another name too: both would work on it at once.

    Raises:
        AnsibleActionFail: with the other names.

    """
    others = _state.others_on(machine, host)
    if others:
        refusal = codes.refusal("E_SAME_HOST", twins=", ".join(others))
        raise AnsibleActionFail(f"[{refusal.code}] {refusal.message}")


def environment_of(action: ActionBase) -> dict[str, str]:
    """Return the variables that ``environment:`` sets for the task: proxies, for the most part."""
    found: dict[str, Any] = {}
    action._compute_environment_string(found)
    return {str(name): str(value) for name, value in found.items()}


def ask(
    action: ActionBase,
    variables: Mapping[str, Any],
    operations: Sequence[Mapping[str, Any]],
    *,
    seconds: int = SECONDS,
    **values: Any,
) -> converge.Answer:
    """Let a host carry out operations over the task's own connection.

    Args:
        action: the task's action plugin.
        variables: the task's variables.
        operations: what to do, in order.
        seconds: limit for the whole of it.
        values: more of the request, see ``converge.request``.

    Raises:
        HostUnreachableError: no connection, or no answer.
        AnsibleActionFail: the host answered, but cannot be worked on.

    """
    target = _hosts.own_target(action, variables)
    asked = converge.request(operations, environment=environment_of(action), **values)
    # Values of Ansible's carry tags that only Ansible's own tools understand.
    program, marker = converge.script(json.loads(json.dumps(asked, default=str)))
    try:
        limit = seconds + asked["lock_timeout"]
        answer = _hosts.twice(target, lambda: _hosts.run_script(target, program, limit))
        return converge.read(answer, marker)
    except _hosts.HostUnreachableError as error:
        raise _hosts.HostUnreachableError(str(error).replace(*LOOKING)) from error
    except _hosts.HostUnusableError as error:
        code = "E_ANSWER" if error.code == "E_OBSERVE" else error.code
        raise AnsibleActionFail(f"[{code}] {str(error).replace(*LOOKING)}") from error
    except converge.AnswerError as error:
        raise AnsibleActionFail(f"[E_ANSWER] {error}") from error
