#!/usr/bin/python
"""One apt transaction, worked out and looked at before it is made."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: deb_transaction
short_description: One apt transaction that installs, moves and removes, looked at before it is made
description:
  - Brings packages to their versions and others away in one transaction, upgrades and downgrades alike.
    The C(apt) module cannot move a set of packages that depend on each other's exact version, nor remove in the same transaction.
  - Waits for the package manager's locks and names their holder when they are not released.
  - Refreshes the package index only when asked to, or when a wanted package or version is not in it.
  - Takes all installed members of a set of packages along to the version that the first of them gets, whether newer or older;
    members that do not exist in that version are to be removed.
  - Simulates the transaction and fails when it cannot be done, or when it would install, upgrade or remove a kernel.
author: The gpuprep project
options:
  packages:
    description: Packages as C(apt-get install) takes them.
    type: list
    elements: str
    required: true
  remove:
    description: Packages that go in the same transaction.
    type: list
    elements: str
    default: []
  bound:
    description: Shell patterns of names that must share one version; a leading C(!) excludes.
    type: list
    elements: str
    default: []
  version:
    description: That version as a shell pattern, for example C(580.*). The newest that fits is taken.
    type: str
  refresh:
    description: Refresh the package index in any case.
    type: bool
    default: false
  lock_timeout:
    description: Seconds to wait for the locks.
    type: int
    default: 600
attributes:
  check_mode:
    support: partial
    description: Says what would change, as far as the package index that is there tells; refreshes nothing.
  diff_mode:
    support: none
    description: The result lists the packages.
"""

EXAMPLES = r"""
- name: Take the whole driver to a branch
  gpuprep.core.deb_transaction:
    packages: [nvidia-open-580]
    bound: ["libnvidia-*", "nvidia-*"]
    version: "580.*"
"""

RETURN = r"""
packages:
  description: The transaction's packages, as C(apt-get install) was given them.
  type: list
  elements: str
  returned: success
refreshed:
  description: Whether the package index was read again.
  type: bool
  returned: success
installs:
  description: Packages that were (or would be) installed or changed, with their new version.
  type: dict
  returned: success
removes:
  description: Packages that were (or would be) removed.
  type: list
  elements: str
  returned: success
"""

import re
import time
from fnmatch import fnmatchcase
from functools import cmp_to_key

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpuprep.core.plugins.module_utils._apt_locks import holder
from ansible_collections.gpuprep.core.plugins.module_utils._packages import (
    installed,
    matches,
    rows,
)

KERNEL = re.compile(r"^linux-(image|modules|generic|oracle|virtual|aws|azure|gcp)(-|$)")
MISSING = re.compile(
    r"E: (Unable to locate package|Version '.*' for '.*' was not found|Package '.*' has no)"
)
INTERRUPTED = ("unpacked", "triggers-pending", "triggers-awaited")
ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
INSTALL = [
    "apt-get",
    "install",
    "-q",
    "--no-install-recommends",
    "--allow-downgrades",
    "--allow-change-held-packages",
    "--ignore-hold",
]
# Configuration files that an administrator changed stay; nobody is asked.
QUIET = ["-y", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]


def wait_for_locks(module):
    """Wait until nobody works on packages, or fail and name who does."""
    deadline = time.time() + module.params["lock_timeout"]
    while True:
        found = holder()
        if found is None:
            return
        if time.time() >= deadline:
            module.fail_json(
                msg="the package manager is still locked after %d s: %s is held by %s (pid %s)."
                " Nothing was changed; let it end, or raise gpuprep_lock_timeout."
                % (module.params["lock_timeout"], found["path"], found["command"], found["pid"])
            )
        time.sleep(1)


def refresh(module):
    """Read the package index again; a failed source is a failure here, unlike for apt-get."""
    code, out, err = module.run_command(
        ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"],
        environ_update=ENVIRONMENT,
    )
    if code != 0:
        lines = [line for line in (out + err).splitlines() if line.startswith(("E:", "Err:", "W:"))]
        module.fail_json(
            msg="the package index cannot be refreshed: " + "; ".join(lines[-6:]), rc=code
        )


def available(module, names):
    """Versions in the index by package name."""
    out = module.run_command(["apt-cache", "madison", "--"] + names, environ_update=ENVIRONMENT)[1]
    found = {}
    for line in out.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3:
            found.setdefault(parts[0], set()).add(parts[1])
    return found


def newest(module, versions):
    """Newest of some Debian versions."""

    def compare(left, right):
        older = module.run_command(["dpkg", "--compare-versions", left, "lt", right])[0] == 0
        return -1 if older else int(left != right)

    return max(versions, key=cmp_to_key(compare))


def split(spec):
    """Name and wanted version pattern of a package as apt-get takes it."""
    name, _, version = spec.partition("=")
    return name, version or None


def bound_version(module, offers):
    """Full version that the set gets: the newest of its first wanted member that fits."""
    setting = module.params
    for name, pattern in map(split, setting["packages"]):
        if not matches(name, setting["bound"]):
            continue
        fits = [v for v in offers.get(name, ()) if fnmatchcase(v, pattern or setting["version"])]
        if fits:
            return newest(module, fits)
    return None


def needed(module, names, version):
    """Packages that these need, directly or not, in exactly this version."""
    found, todo = set(), set(names)
    pattern = re.compile(r"^([a-z0-9][a-z0-9+.-]*)(?::\w+)? \(= %s\)$" % re.escape(version))
    while todo:
        found |= todo
        words = ["%s=%s" % (name, version) for name in sorted(todo)]
        out = module.run_command(["apt-cache", "show", "--"] + words, environ_update=ENVIRONMENT)[1]
        groups = [
            g.strip() for line in re.findall(r"^Depends: (.*)", out, re.M) for g in line.split(",")
        ]
        todo = {match.group(1) for match in map(pattern.match, groups) if match} - found
    return found


def members_of(there, bound, remove):
    """Installed packages of the set, with those of the same release that the patterns miss."""
    names = [n for n in there if matches(n, bound)]
    versions = [there[n] for n in names]
    release = max(set(versions), key=versions.count) if versions else None
    names += [n for n in there if there[n] == release and n not in names]
    return sorted(set(names) - set(remove))


def complete(module):
    """Transaction with every member of the set named: packages, removals."""
    setting = module.params
    packages, remove = list(setting["packages"]), list(setting["remove"])
    if not setting["bound"]:
        return packages, remove
    there = installed(module)
    members = members_of(there, setting["bound"], remove)
    roots = [split(spec)[0] for spec in packages]
    offers = available(module, sorted(set(members) | set(roots)))
    version = bound_version(module, offers)
    if version is None:
        return packages, remove  # the simulation says what is missing
    exact = {
        n: version for n in roots if matches(n, setting["bound"]) and version in offers.get(n, ())
    }
    exact.update(dict.fromkeys(needed(module, exact, version), version))
    for name in members:
        if there[name] == version or name in exact:
            continue
        if version in offers.get(name, ()):
            exact[name] = version
        else:
            remove.append(name)
    specs = [spec for spec in packages if split(spec)[0] not in exact]
    return specs + ["%s=%s" % item for item in sorted(exact.items())], sorted(set(remove))


def finish_interrupted(module):
    """Let dpkg finish what an interrupted transaction left unpacked."""
    if not any(state in INTERRUPTED for (state,) in rows(module, "db:Status-Status")):
        return
    code, out, err = module.run_command(
        ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"],
        environ_update=ENVIRONMENT,
    )
    if code != 0:
        module.fail_json(
            msg="dpkg cannot finish an interrupted transaction: " + (err or out).strip()[-600:],
            rc=code,
        )


def is_there(module):
    """Whether the packages are there as asked for and the others gone.

    apt would refuse even an empty transaction while packages that are repaired later are broken.
    """
    setting, there = module.params, installed(module)
    wanted = [split(spec) for spec in setting["packages"]]
    return (
        not setting["bound"]
        and not set(setting["remove"]) & set(there)
        and all(
            name in there and fnmatchcase(there[name], version or "*") for name, version in wanted
        )
    )


def simulate(module):
    """Words of the worked out transaction, and what its simulation says."""
    packages, remove = complete(module)
    words = packages + [name + "-" for name in remove]
    code, out, err = module.run_command(INSTALL + ["-s", "--"] + words, environ_update=ENVIRONMENT)
    return words, code, out, err


def previewed(module):
    """Words of a transaction that can be done, what it changes, whether the index was read."""
    refreshed = module.params["refresh"] and not module.check_mode
    if refreshed:
        refresh(module)
    words, code, out, err = simulate(module)
    if code != 0 and not refreshed and not module.check_mode and MISSING.search(err):
        refresh(module)
        refreshed = True
        words, code, out, err = simulate(module)
    if code != 0:
        lines = [line for line in (out + "\n" + err).splitlines() if line.strip()]
        reasons = [line for line in lines if line.startswith(("E:", " ", "Depends"))] or lines
        module.fail_json(
            msg="apt cannot do the transaction, so it was not started: " + " ".join(reasons[-12:]),
            packages=words,
            rc=code,
        )
    installs = dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", out, re.M))
    removes = re.findall(r"^(?:Remv|Purg) (\S+)", out, re.M)
    kernels = sorted(name for name in set(installs) | set(removes) if KERNEL.match(name))
    if kernels:
        module.fail_json(
            msg="the transaction would change the kernel (%s), which gpuprep never does unasked."
            " It was not started; update the kernel and reboot first, then run again."
            % ", ".join(kernels)
        )
    pending = re.findall(r"^Conf (\S+)", out, re.M)
    return words, installs, removes, bool(installs or removes or pending), refreshed


def main():
    """Work out the transaction, look at it, make it."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "remove": {"type": "list", "elements": "str", "default": []},
            "bound": {"type": "list", "elements": "str", "default": []},
            "version": {"type": "str"},
            "refresh": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    wait_for_locks(module)
    if not module.check_mode:
        finish_interrupted(module)
    if is_there(module):
        module.exit_json(
            changed=False,
            packages=module.params["packages"],
            refreshed=False,
            installs={},
            removes=[],
        )
    words, installs, removes, changed, refreshed = previewed(module)
    if changed and not module.check_mode:
        timeout = "DPkg::Lock::Timeout=%d" % module.params["lock_timeout"]
        code, out, err = module.run_command(
            INSTALL + QUIET + ["-o", timeout, "--"] + words, environ_update=ENVIRONMENT
        )
        if code != 0:
            lines = [line for line in err.splitlines() if line.strip()] or out.splitlines()
            module.fail_json(
                msg="apt failed (exit %d): %s" % (code, " ".join(lines[-8:])),
                stdout=out[-20000:],
                packages=words,
                rc=code,
            )
    module.exit_json(
        changed=changed, packages=words, refreshed=refreshed, installs=installs, removes=removes
    )


if __name__ == "__main__":
    main()
