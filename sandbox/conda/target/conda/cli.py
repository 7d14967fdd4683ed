"""conda's command line, as far as tests use it."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from . import environments, transactions
from .settings import CondaError, Settings, load

Command = Callable[[Settings, argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - has no public name


def run_and_leave() -> NoReturn:
    """Run the command line and end the process.

    At once: py-rattler 0.28 has threads that now and then crash while Python shuts down.
    """
    try:
        status = main()
    except SystemExit as left:  # argparse
        status = left.code if isinstance(left.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(load(), options) or 0)
    except CondaError as error:
        if getattr(options, "json", False):
            name = str(error).partition(":")[0]
            print(json.dumps({"error": str(error), "exception_name": name}, indent=2))
        else:
            print(f"\n{error}\n", file=sys.stderr)
        return 1


def version() -> str:
    """Return the version of the installed package `conda`."""
    for path in Path(sys.prefix, "conda-meta").glob("conda-*.json"):
        record = json.loads(path.read_text())
        if record["name"] == "conda":
            return str(record["version"])
    return "unknown"


def _target(settings: Settings, options: argparse.Namespace) -> Path:
    """Return the prefix a command works on: named, else the active one, else the base."""
    named = environments.prefix_of(settings, options.name, options.prefix)
    return named or Path(os.environ.get("CONDA_PREFIX") or settings.root)


def _setting(options: argparse.Namespace) -> environments.Setting:
    files = [environments.from_text_file(Path(name)) for name in options.file]
    return environments.Setting(
        [*options.packages, *(spec for setting in files for spec in setting.specs)],
        [*options.channel, *(name for setting in files for name in setting.channels)],
        [line for setting in files for line in setting.locked],
        next((setting.name for setting in files if setting.name), None),
    )


def _done(options: argparse.Namespace, prefix: Path) -> int:
    if options.json:
        print(json.dumps({"success": True, "prefix": str(prefix)}, indent=2))
    elif not options.quiet:
        print(f"\nPreparing transaction: done\nExecuting transaction: done\n# {prefix}")
    return 0


def create(settings: Settings, options: argparse.Namespace) -> int:
    """Make an environment; one that exists is replaced, as conda does after `-y`."""
    setting = _setting(options)
    prefix = environments.prefix_of(settings, options.name or setting.name, options.prefix)
    if prefix is None:
        raise CondaError("ArgumentError: one of the arguments -n/--name -p/--prefix is required")
    if prefix.exists() and not options.yes:
        raise CondaError(f"CondaValueError: a conda environment already exists at {prefix}")
    environments.apply(settings, prefix, setting, prune=False, fresh=True)
    return _done(options, prefix)


def install(settings: Settings, options: argparse.Namespace) -> int:
    """Add packages to an environment."""
    prefix = environments.existing(_target(settings, options))
    environments.apply(settings, prefix, _setting(options), prune=False, fresh=False)
    return _done(options, prefix)


def update(settings: Settings, options: argparse.Namespace) -> int:
    """Take newer versions."""
    if not options.packages and not options.all:
        raise CondaError("CondaValueError: no package names supplied")
    prefix = _target(settings, options)
    environments.update(settings, prefix, options.packages, options.channel)
    return _done(options, prefix)


def remove(settings: Settings, options: argparse.Namespace) -> int:
    """Remove packages, or with --all the environment."""
    prefix = environments.existing(_target(settings, options))
    if options.all:
        environments.remove(prefix)
    else:
        environments.remove_packages(settings, prefix, options.packages)
    return _done(options, prefix)


def env_create(settings: Settings, options: argparse.Namespace) -> int:
    """Make an environment from a file; refuse when it exists."""
    setting = environments.from_text_file(Path(options.file))
    prefix = environments.prefix_of(settings, options.name or setting.name, options.prefix)
    if prefix is None:
        raise CondaError("SpecNotFound: the file gives no name; use -n or -p")
    if environments.is_environment(prefix) and not options.yes:
        raise CondaError(f"CondaValueError: prefix already exists: {prefix}")
    environments.apply(settings, prefix, setting, prune=False, fresh=True)
    return _done(options, prefix)


def env_update(settings: Settings, options: argparse.Namespace) -> int:
    """Bring an environment to a file."""
    setting = environments.from_text_file(Path(options.file))
    named = environments.prefix_of(settings, options.name or setting.name, options.prefix)
    prefix = named or _target(settings, options)
    environments.apply(settings, prefix, setting, prune=options.prune, fresh=False)
    return _done(options, prefix)


def env_list(settings: Settings, options: argparse.Namespace) -> int:
    """List environments."""
    found = environments.listing(settings)
    if options.json:
        print(json.dumps({"envs": [str(path) for path in found]}, indent=2))
        return 0
    for path in found:
        name = "base" if path == settings.root else path.name
        print(f"{name:<22} {path}")
    return 0


def env_remove(settings: Settings, options: argparse.Namespace) -> int:
    """Delete an environment."""
    prefix = environments.existing(_target(settings, options))
    environments.remove(prefix)
    return _done(options, prefix)


def list_(settings: Settings, options: argparse.Namespace) -> int:
    """List the packages of an environment."""
    prefix = environments.existing(_target(settings, options))
    records = transactions.installed(prefix)
    if options.explicit:
        print("# platform: linux-64\n@EXPLICIT")
        for record in records:
            digest = (record.sha256 if options.sha256 else record.md5).hex()
            prefix_text = "sha256:" if options.sha256 else ""
            print(f"{record.url}#{prefix_text}{digest}")
        return 0
    rows = [_row(record) for record in records]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"# packages in environment at {prefix}:\n#")
    for row in rows:
        print(f"{row['name']:<25} {row['version']:<15} {row['build_string']:<20} {row['channel']}")
    return 0


def _row(record: transactions.Installed) -> dict[str, Any]:
    base, _, file_name = str(record.url).rpartition("/")
    channel_url, _, platform = base.rpartition("/")
    channel = channel_url.rpartition("/")[2]
    return {
        "base_url": channel_url,
        "build_number": record.build_number,
        "build_string": str(record.build),
        "channel": channel,
        "dist_name": file_name.removesuffix(".conda").removesuffix(".tar.bz2"),
        "name": str(record.name.normalized),
        "platform": platform,
        "version": str(record.version),
    }


def info(settings: Settings, options: argparse.Namespace) -> int:
    """Tell about this conda."""
    active = os.environ.get("CONDA_PREFIX")
    facts = {
        "active_prefix": active,
        "active_prefix_name": Path(active).name if active else None,
        "channels": [
            f"{url}/{platform}"
            for url in settings.channel_urls([])
            for platform in transactions.PLATFORMS
        ],
        "conda_prefix": str(settings.root),
        "conda_version": version(),
        "config_files": settings.files,
        "default_prefix": active or str(settings.root),
        "envs": [str(path) for path in environments.listing(settings)],
        "envs_dirs": [str(path) for path in settings.envs_dirs],
        "pkgs_dirs": [str(settings.packages_dir)],
        "platform": "linux-64",
        "python_version": ".".join(map(str, sys.version_info[:3])) + ".final.0",
        "rc_path": str(Path("~/.condarc").expanduser()),
        "root_prefix": str(settings.root),
        "root_writable": os.access(settings.root, os.W_OK),
        "solver": {"default": True, "name": "libmamba"},
        "virtual_pkgs": [
            [str(package.name.normalized), str(package.version), str(package.build_string)]
            for package in transactions.virtual_packages()
        ],
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    for key, value in facts.items():
        print(f"{key.replace('_', ' '):>22} : {value}")
    return 0


def config(settings: Settings, options: argparse.Namespace) -> int:
    """Show the settings in force."""
    if not options.show and not options.show_sources:
        raise CondaError("ArgumentError: this substitute only shows the configuration")
    values: dict[str, Any] = {
        "auto_activate": True,
        "auto_activate_base": True,
        "channel_priority": "flexible",
        **settings.values,
        "channel_alias": settings.channel_alias,
        "channels": settings.channels,
        "envs_dirs": [str(path) for path in settings.envs_dirs],
    }
    shown = {key: values.get(key) for key in options.keys} if options.keys else values
    if options.json:
        print(json.dumps(shown, indent=2, default=str))
        return 0
    for key, value in sorted(shown.items()):
        if isinstance(value, list):
            print(f"{key}:", *(f"  - {item}" for item in value), sep="\n")
        else:
            print(f"{key}: {value}")
    return 0


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Run a program of an environment; its exit status is ours."""
    prefix = environments.existing(_target(settings, options))
    environment = {
        **os.environ,
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": "base" if prefix == settings.root else prefix.name,
        "CONDA_EXE": str(settings.root / "bin" / "conda"),
        "PATH": f"{prefix}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise CondaError("ArgumentError: no command given")
    try:
        return subprocess.run(command, env=environment, cwd=options.cwd, check=False).returncode
    except FileNotFoundError as error:
        raise CondaError(f"CommandNotFoundError: {command[0]}: {error.strerror}") from error


def clean(settings: Settings, options: argparse.Namespace) -> int:
    """Remove the downloaded packages."""
    shutil.rmtree(settings.packages_dir, ignore_errors=True)
    return _done(options, settings.packages_dir)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("-V", "--version", action="version", version=f"conda {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true")
    output.add_argument("-q", "--quiet", action="store_true")
    output.add_argument("-v", "--verbose", action="count")
    where = argparse.ArgumentParser(add_help=False, parents=[output])
    target = where.add_mutually_exclusive_group()
    target.add_argument("-n", "--name")
    target.add_argument("-p", "--prefix")
    change = argparse.ArgumentParser(add_help=False, parents=[where])
    change.add_argument("-y", "--yes", action="store_true")
    packages = argparse.ArgumentParser(add_help=False, parents=[change])
    packages.add_argument("-c", "--channel", action="append", default=[])
    packages.add_argument("--file", action="append", default=[])
    packages.add_argument("packages", nargs="*")

    def command(
        name: str, run: Command, parent: argparse.ArgumentParser, into: Commands = commands
    ) -> argparse.ArgumentParser:
        made = into.add_parser(name, parents=[parent], help=(run.__doc__ or "").partition(";")[0])
        made.set_defaults(run=run)
        return made

    command("create", create, packages)
    command("install", install, packages)
    for name in ("update", "upgrade"):
        command(name, update, packages).add_argument("--all", action="store_true")
    for name in ("remove", "uninstall"):
        command(name, remove, packages).add_argument("--all", action="store_true")
    listed = command("list", list_, where)
    for flag in ("--explicit", "--md5", "--sha256"):
        listed.add_argument(flag, action="store_true")
    told = command("info", info, output)
    told.add_argument("-e", "--envs", action="store_true")
    shown = command("config", config, output)
    shown.add_argument("--show", action="store_true")
    shown.add_argument("--show-sources", action="store_true")
    shown.add_argument("keys", nargs="*")
    ran = command("run", run, where)
    for flag in ("--no-capture-output", "--live-stream", "--no-input"):
        ran.add_argument(flag, action="store_true")
    ran.add_argument("--cwd")
    ran.add_argument("command", nargs=argparse.REMAINDER)
    cleaned = command("clean", clean, change)
    cleaned.add_argument("-a", "--all", action="store_true")

    env = commands.add_parser("env", help="Manage environments").add_subparsers(required=True)
    created = command("create", env_create, change, env)
    updated = command("update", env_update, change, env)
    updated.add_argument("--prune", action="store_true")
    for made in (created, updated):
        made.add_argument("-f", "--file", default="environment.yml")
    command("list", env_list, output, env)
    command("remove", env_remove, change, env)
    return parser
