"""Private: the options of Ansible's plugins, for many hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible import constants as C

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSIBLES = "ansible.plugins."
TEMPLATES = ("{{", "{%")


class Options:
    """Gives plugins their options; one is looked up once for the variables that it is read from.

    Hosts differ in two of thirty, and to look one up takes as long as all else of a host's plugins.
    Plugins that are not Ansible's own are left to themselves.

    Args:
        keys: keywords of the task, for options that come from them.

    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self.keys = keys
        self._read_from: dict[tuple[str, str], dict[str, tuple[str, ...] | None]] = {}
        self._found: dict[Any, tuple[Any, Any]] = {}

    def give(self, plugin: Any, variables: Mapping[str, Any], **more: Any) -> None:
        """Set the options of a plugin, as its own ``set_options`` does.

        Args:
            plugin: connection or become plugin.
            variables: those of the plugin that are set.
            **more: keywords of this host.

        Raises:
            AnsibleError: a value makes no sense.

        """
        keys = {**self.keys, **more}
        kind, name = plugin.plugin_type, plugin._load_name
        own = type(plugin).__module__.startswith(ANSIBLES) and not plugin.allow_extras
        if not own or (kind, name) not in self._read_from:
            plugin.set_options(task_keys=keys, var_options=variables)
            if own:
                self._read_from[kind, name] = read_from(kind, name)
            return
        options, origins = {}, {}
        for option, names in self._read_from[kind, name].items():
            of = (kind, name, option, tuple(more.items()))
            options[option], origins[option] = self._value(of, names, keys, variables)
        plugin._options, plugin._origins = options, origins

    def _value(
        self,
        of: tuple[str, str, str, tuple[Any, ...]],
        names: tuple[str, ...] | None,
        keys: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> tuple[Any, Any]:
        kind, name, option, _more = of
        key = None
        if names is not None:
            values = [variables.get(name) for name in names]
            key = (of, *((type(value), value) for value in values))
            try:
                if key in self._found:
                    return self._found[key]
            except TypeError:  # a list, or the like
                key = None
        found: tuple[Any, Any] = C.config.get_config_value_and_origin(
            option, plugin_type=kind, plugin_name=name, keys=keys, variables=variables
        )
        if key is not None:
            self._found[key] = found
        return found


def read_from(kind: str, name: str) -> dict[str, tuple[str, ...] | None]:
    """Return the variables that each option of a plugin is read from, None where it may be any."""
    definitions = C.config.get_configuration_definitions(kind, name)
    return {
        option: None
        if any(word in str(definition.get("default")) for word in TEMPLATES)
        else tuple(entry["name"] for entry in definition.get("vars") or ())
        for option, definition in definitions.items()
    }
