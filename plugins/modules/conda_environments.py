#!/usr/bin/python
"""conda environments as specified."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: conda_environments
short_description: Create conda environments and keep them as specified
description:
  - Creates an environment from package specifications, an C(environment.yml) or an explicit lock file.
  - Notes beside the environment what it was made from and which packages came out of it.
    An environment whose specification and packages are as noted is left alone, without asking any channel.
author: The gpuprep project
options:
  prefix:
    description: The conda installation.
    type: path
    required: true
  environments:
    description: The environments.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Directory below C(<prefix>/envs).
        type: str
        required: true
      kind:
        description: Form of the specification.
        type: str
        choices: [packages, yaml, explicit]
        required: true
      content:
        description: The specification's text; package specifications one a line.
        type: str
        required: true
      digest:
        description: Digest of the specification.
        type: str
        required: true
  tmpdir:
    description: Directory for conda's temporary files, for hosts whose C(/tmp) is mounted noexec.
    type: path
    default: /var/tmp
attributes:
  check_mode:
    support: full
    description: Reports which environments would change.
  diff_mode:
    support: none
    description: The result lists the environments.
"""

EXAMPLES = r"""
- name: An environment for everybody
  gpuprep.core.conda_environments:
    prefix: /opt/conda
    environments:
      - name: tools
        kind: packages
        content: "python=3.12\nnumpy\n"
        digest: 0123456789abcdef
"""

RETURN = r"""
environments:
  description: Environments that were (or would be) created or updated.
  type: list
  elements: str
  returned: always
"""

import glob
import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

SUFFIXES = {"packages": ".yml", "yaml": ".yml", "explicit": ".txt"}


def packages_of(env):
    """Installed packages of an environment: name to version-build."""
    found = {}
    for path in glob.glob(env + "/conda-meta/*-*-*.json"):
        name, version, build = os.path.basename(path)[: -len(".json")].rsplit("-", 2)
        found[name] = version + "-" + build
    return found


def as_noted(env, digest):
    """Whether the environment is as its note says, made from this specification."""
    try:
        with open(env + "/conda-meta/gpuprep") as handle:
            note = json.load(handle)
    except (IOError, OSError, ValueError):
        return False
    return note.get("digest") == digest and note.get("packages") == packages_of(env)


def command(conda, kind, env, path):
    """The conda call that brings the environment to its specification, no more and no less."""
    if kind == "explicit":
        return [conda, "create", "-y", "-q", "-p", env, "--file", path]
    verb = ["update", "--prune"] if os.path.isdir(env + "/conda-meta") else ["create", "-y"]
    return [conda, "env", *verb, "-q", "-p", env, "-f", path]


def as_file(setting):
    """Text that conda is given."""
    if setting["kind"] != "packages":
        return setting["content"]
    specs = [json.dumps(spec) for spec in setting["content"].splitlines() if spec.strip()]
    return "dependencies:\n" + "".join("  - %s\n" % spec for spec in specs)


def converge(module, setting):
    """Create or update one environment and note the outcome."""
    prefix = module.params["prefix"]
    env = os.path.join(prefix, "envs", setting["name"])
    handle, path = tempfile.mkstemp(suffix=SUFFIXES[setting["kind"]], dir=module.tmpdir)
    with os.fdopen(handle, "w") as stream:
        stream.write(as_file(setting))
    code, out, err = module.run_command(
        command(prefix + "/bin/conda", setting["kind"], env, path),
        environ_update={"TMPDIR": module.params["tmpdir"], "CONDA_ENVS_PATH": prefix + "/envs"},
    )
    if code != 0:
        text = (err or out).strip()
        module.fail_json(
            msg="conda cannot make environment %s: %s" % (setting["name"], text[-1500:]), rc=code
        )
    with open(env + "/conda-meta/gpuprep", "w") as stream:
        json.dump(
            {"digest": setting["digest"], "packages": packages_of(env)}, stream, sort_keys=True
        )


def main():
    """Bring every environment to its specification."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "environments": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "kind": {
                        "type": "str",
                        "required": True,
                        "choices": ["packages", "yaml", "explicit"],
                    },
                    "content": {"type": "str", "required": True},
                    "digest": {"type": "str", "required": True},
                },
            },
            "tmpdir": {"type": "path", "default": "/var/tmp"},
        },
        supports_check_mode=True,
    )
    changed = []
    for setting in module.params["environments"]:
        env = os.path.join(module.params["prefix"], "envs", setting["name"])
        if as_noted(env, setting["digest"]):
            continue
        changed.append(setting["name"])
        if not module.check_mode:
            converge(module, setting)
    module.exit_json(changed=bool(changed), environments=changed)


if __name__ == "__main__":
    main()
