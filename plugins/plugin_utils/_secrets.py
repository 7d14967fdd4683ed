"""Private: what must not be shown of a host's variables, by value.

Only here are the values known: in files a password may be a template, or encrypted.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.planner.settings import all_options
from gpuprep.run.own_words import own_words
from gpuprep.run.redact import Redactor, is_secret_name, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible._internal._templating._engine import TemplateEngine
    from ansible.plugins.action import ActionBase


def secrets_of(variables: Mapping[str, Any], templar: TemplateEngine) -> set[str]:
    """Return the secrets in a host's variables, those included that stand for themselves nowhere."""
    found: set[str] = set()
    for name in variables:
        if is_secret_name(name) or name in all_options():
            with suppress(Exception):  # what cannot be told is told elsewhere
                value = templar.template(variables[name])
                if hasattr(value, "__ENCRYPTED__"):  # ansible-core 2.18
                    value = str(value)
                found.update(secrets_in({name: value}))
    return found


def redactor(secrets: Iterable[str]) -> Redactor:
    """Return what masks these secrets, and those in URLs."""
    return Redactor(secrets, spared=own_words())


def redactor_for(action: ActionBase, variables: Mapping[str, Any]) -> Redactor:
    """Return what masks the secrets of a task's host."""
    context = action._play_context
    typed = {str(word) for word in (context.password, context.become_pass) if word}
    return redactor(secrets_of(variables, action._templar) | typed)
