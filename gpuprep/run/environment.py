"""Where the collection is, and the environment in which Ansible finds and runs it."""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ConfigError
from gpuprep.layout import collection_root
from gpuprep.run.connections import SETTINGS
from gpuprep.run.paths import existing

if TYPE_CHECKING:
    from collections.abc import Mapping

COLLECTION: Final = "gpuprep.core"
# Settings that make Ansible ask, by section; each is of the same name in the environment.
_PROMPTS: Final = {
    "ask_pass": "defaults",
    "ask_vault_pass": "defaults",
    "become_ask_pass": "privilege_escalation",
}
PROMPT_SOURCES: Final = frozenset({"prompt", "prompt_ask_vault_pass"})  # of an identity
_TRUE: Final = frozenset({"y", "yes", "on", "1", "true", "t"})
_LINEAR: Final = frozenset({"linear", "ansible.builtin.linear"})
_CALLBACKS: Final = ("~/.ansible/plugins/callback", "/usr/share/ansible/plugins/callback")
ENGINE: Final = "GPUPREP_ENGINE"  # of the environment: "playbook" starts ansible-playbook always
_VERSION: Final = re.compile(r"^__version__ = ['\"]([^'\"]+)['\"]$", re.MULTILINE)
_DEFAULT_COLLECTIONS: Final = ("~/.ansible/collections", "/usr/share/ansible/collections")


def collections_root() -> Path:
    """Directory to put on Ansible's collections path."""
    return collection_root().parents[2]  # below it: ansible_collections/gpuprep/core


def ansible_core() -> str:
    """Return the version of ansible-core; it is not imported for that, which would take long."""
    package = importlib.util.find_spec("ansible")
    with contextlib.suppress(OSError):
        for folder in (package and package.submodule_search_locations) or ():
            text = Path(folder, "release.py").read_text(encoding="utf-8")
            if found := _VERSION.search(text):
                return found[1]
    from importlib.metadata import version as recorded  # noqa: PLC0415 - takes long

    return recorded("ansible-core")


def playbook(verb: str) -> str:
    """Full name of the playbook of a verb, e.g. ``gpuprep.core.apply``."""
    return f"{COLLECTION}.{verb}"


def find_configuration(environ: Mapping[str, str], directory: Path) -> Path | None:
    """Find the ansible.cfg that Ansible would read, by Ansible's own order and caution.

    Source: ansible-core's ``find_ini_config_file``: ANSIBLE_CONFIG, the working directory unless
    every user may write to it, the home directory, /etc/ansible.
    """
    named = environ.get("ANSIBLE_CONFIG")
    candidates = [path for path in (existing(named or ""),) if named and path]
    if not directory.stat().st_mode & stat.S_IWOTH:
        candidates.append(directory / "ansible.cfg")
    candidates += [Path("~/.ansible.cfg").expanduser(), Path("/etc/ansible/ansible.cfg")]
    for candidate in candidates:
        path = candidate / "ansible.cfg" if candidate.is_dir() else candidate
        if path.is_file() and os.access(path, os.R_OK):
            return path
    return None


def configured(configuration: Path | None, key: str, section: str = "defaults") -> str | None:
    """Read a key of a section; None when it, or the file, is not there."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",), strict=False)
    try:
        parser.read([] if configuration is None else [configuration], encoding="utf-8")
    except configparser.Error:
        return None  # Ansible reads the file itself and says what is wrong with it
    return parser.get(section, key, fallback=None) or None


def has_inventory(environ: Mapping[str, str], directory: Path) -> bool:
    """Return whether Ansible's own configuration names an inventory.

    Raises:
        ConfigError: a name in it is empty: Ansible takes that for the working directory.

    """
    configuration = find_configuration(environ, directory)
    named, where = environ.get("ANSIBLE_INVENTORY"), "ANSIBLE_INVENTORY"
    if named is None:
        named, where = configured(configuration, "inventory"), f"inventory in {configuration}"
    if named is None:
        return False
    if not all(name.strip() for name in named.split(",")):
        raise ConfigError(
            f"{where}: an inventory with an empty name, in {named!r}; give it a name, or take it"
            " out"
        )
    return True


def asking(environ: Mapping[str, str], directory: Path) -> tuple[str, ...]:
    """Return the settings in Ansible's own configuration that would make it ask for a password."""
    configuration = find_configuration(environ, directory)

    def value(key: str, section: str = "defaults") -> str:
        given = environ.get(f"ANSIBLE_{key.upper()}")
        return given if given is not None else configured(configuration, key, section) or ""

    found = [
        key for key, section in _PROMPTS.items() if value(key, section).strip().lower() in _TRUE
    ]
    labels = (label.strip() for label in value("vault_identity_list").split(","))
    return (*found, *(label for label in labels if label.partition("@")[2] in PROMPT_SOURCES))


def needs_playbook(environ: Mapping[str, str], directory: Path) -> str | None:
    """Return why hosts must be observed from within ansible-playbook, None when they need not.

    What the user has plugged into Ansible's machinery only works in it.
    """
    if environ.get(ENGINE, "") == "playbook":
        return f"{ENGINE}=playbook"
    configuration = find_configuration(environ, directory)

    def value(key: str) -> str:
        given = environ.get(f"ANSIBLE_{key.upper()}")
        return given if given is not None else configured(configuration, key) or ""

    strategy = value("strategy").strip()
    if strategy and strategy not in _LINEAR:
        return f"the strategy {strategy}"
    named = value("callbacks_enabled") or value("callback_plugins")
    folders = (Path(folder).expanduser() for folder in _CALLBACKS)
    if named or any(next(folder.glob("*.py"), None) for folder in folders):
        return "callback plugins" + (f" ({named})" if named else "")
    return None


def collections_path(environ: Mapping[str, str], directory: Path) -> str:
    """Ansible's collections path: ours first, then the user's own."""
    ours = str(collections_root())
    found = environ.get("ANSIBLE_COLLECTIONS_PATH")
    theirs = found.split(os.pathsep) if found else _configured_collections(environ, directory)
    return os.pathsep.join([ours, *(path for path in theirs if path and path != ours)])


def _configured_collections(environ: Mapping[str, str], directory: Path) -> list[str]:
    configuration = find_configuration(environ, directory)
    value = configured(configuration, "collections_path")
    if configuration is None or value is None:
        return list(_DEFAULT_COLLECTIONS)
    home = configuration.resolve().parent  # Ansible takes relative paths from the file's place
    return [os.path.normpath(home / Path(part).expanduser()) for part in value.split(os.pathsep)]


def playbook_user_environment(environ: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return the variables that plain ``ansible-playbook gpuprep.core.apply`` needs."""
    return {"ANSIBLE_COLLECTIONS_PATH": collections_path(environ, directory)}


def _places_masters(environ: Mapping[str, str], directory: Path) -> bool:
    """Return whether Ansible's own configuration says where ssh's connection masters are."""
    configuration = find_configuration(environ, directory)
    return any(
        environ.get(f"ANSIBLE_SSH_{key.upper()}")
        or configured(configuration, key, "ssh_connection")
        for key in SETTINGS
    )


def engine_environment(
    environ: Mapping[str, str], directory: Path, run_dir: Path
) -> dict[str, str]:
    """Return the variables, beside the inherited ones, that a run of ours needs.

    The user's ansible.cfg keeps its say on connections (ssh arguments, timeouts, remote user);
    what decides correctness, secrecy or cleanliness is fixed here.
    """
    environment = playbook_user_environment(environ, directory) | {
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off when it is not set
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_HOST_PATTERN_MISMATCH": "warning",
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_LOCAL_TEMP": str(run_dir / "tmp"),
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "False",  # task arguments may hold secrets
        "ANSIBLE_STDOUT_CALLBACK": "default",
        # Passwords are asked for by gpuprep, and before that: see options.check_prompts.
        **{f"ANSIBLE_{key.upper()}": "False" for key in _PROMPTS},
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_FORCE_COLOR": "False",
        "GPUPREP_STATE_DIR": str(run_dir / "state"),  # what the plan leaves to the roles
        "GPUPREP_RUN_DIR": str(run_dir),  # marks every process of the run, see processes.py
    }
    if not _places_masters(environ, directory):
        environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(run_dir / "cp")
    if sys.platform == "linux":
        environment["LC_ALL"] = "C.UTF-8"  # Ansible refuses other encodings; messages in English
    return environment
