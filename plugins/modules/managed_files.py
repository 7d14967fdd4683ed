#!/usr/bin/python
"""Several small managed files in one task."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: managed_files
short_description: Several small files with given content, mode and owner in one task
description:
  - Writes files atomically, only those that differ.
  - Fetches a repository's signing key and writes it only when it holds exactly the key with the given fingerprint.
author: The gpuprep project
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      kind:
        description: What the file is; returned for those that changed.
        type: str
        required: true
      content:
        description: Text of the file.
        type: str
      key:
        description: The signing key that the file holds.
        type: dict
        suboptions:
          url:
            description: Where to fetch it.
            type: str
            required: true
          fingerprint:
            description: Fingerprint of the primary key, 40 hexadecimal digits.
            type: str
            required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
      owner:
        description: Owner.
        type: str
        default: root
      group:
        description: Group.
        type: str
        default: root
  timeout:
    description: Seconds to wait for a key server.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Reports what would change.
  diff_mode:
    support: full
    description: Shows each file's change.
"""

EXAMPLES = r"""
- name: Keep nouveau away
  gpuprep.core.managed_files:
    files:
      - path: /etc/modprobe.d/no-nouveau.conf
        kind: blacklist
        content: "blacklist nouveau\n"
"""

RETURN = r"""
paths:
  description: Files that were (or would be) changed.
  type: list
  elements: str
  returned: always
kinds:
  description: Kinds of those files.
  type: list
  elements: str
  returned: always
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_bytes
from ansible.module_utils.urls import fetch_url
from ansible_collections.gpuprep.core.plugins.module_utils._openpgp import fingerprints


def current(path):
    """Content of a file, None when it is absent or no regular file."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as handle:
        return handle.read()


def holds_key(data, fingerprint):
    """Whether the data holds exactly this primary key."""
    try:
        return fingerprints(data) == [fingerprint]
    except ValueError:
        return False


def fetched_key(module, key):
    """The key file from its URL, its fingerprint checked."""
    response, info = fetch_url(module, key["url"], timeout=module.params["timeout"])
    if info["status"] != 200:
        module.fail_json(
            msg="the repository's key cannot be fetched from %s: %s" % (key["url"], info["msg"])
        )
    data = response.read()
    try:
        found = fingerprints(data)
    except ValueError as error:
        module.fail_json(msg="%s holds no OpenPGP key: %s" % (key["url"], error))
    if found != [key["fingerprint"]]:
        module.fail_json(
            msg="the key at %s has fingerprint %s, expected %s: the repository is not trusted."
            " If it is a mirror signed with a key of its own, set gpuprep_mirror_fingerprint."
            % (key["url"], ", ".join(found), key["fingerprint"])
        )
    return data


def wanted_content(module, setting, there):
    """Bytes the file must hold."""
    if not setting["key"]:
        return to_bytes(setting["content"] or "")
    if there is not None and holds_key(there, setting["key"]["fingerprint"]):
        return there
    if module.check_mode:
        return None
    return fetched_key(module, setting["key"])


def shown(data):
    """Text of a file for a diff; a binary key cannot be shown."""
    try:
        return (data or b"").decode("utf-8")
    except UnicodeDecodeError:
        return "(%d bytes that are no text)\n" % len(data)


def write(module, path, data):
    """Replace a file atomically."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o755)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    if os.path.isdir(path) and not os.path.islink(path):
        module.fail_json(msg="%s is a directory; remove it, gpuprep keeps a file there" % path)
    if os.path.islink(path):
        os.unlink(path)
    module.atomic_move(temporary, path)


def main():
    """Bring each file to its wanted content and rights."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "kind": {"type": "str", "required": True},
                    "content": {"type": "str"},
                    "key": {
                        "type": "dict",
                        "no_log": False,
                        "options": {
                            "url": {"type": "str", "required": True},
                            "fingerprint": {"type": "str", "required": True},
                        },
                    },
                    "mode": {"type": "str", "default": "0644"},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                },
            },
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    changed, diffs = [], []
    # Everything that can fail for want of a network is fetched before anything is written.
    plans = []
    for setting in module.params["files"]:
        there = current(setting["path"])
        plans.append((setting, there, wanted_content(module, setting, there)))
    for setting, there, wanted in plans:
        path = setting["path"]
        differs = there != wanted
        if differs:
            diffs.append(
                {
                    "before": shown(there),
                    "after": shown(wanted),
                    "before_header": path,
                    "after_header": path,
                }
            )
            if not module.check_mode:
                write(module, path, wanted)
        rights = {
            "path": path,
            "mode": setting["mode"],
            "owner": setting["owner"],
            "group": setting["group"],
        }
        arguments = module.load_file_common_arguments(dict(module.params, **rights), path=path)
        if os.path.exists(path):
            differs = module.set_fs_attributes_if_different(arguments, differs)
        if differs:
            changed.append(setting)
    module.exit_json(
        changed=bool(changed),
        paths=[setting["path"] for setting in changed],
        kinds=sorted({setting["kind"] for setting in changed}),
        diff=diffs,
    )


if __name__ == "__main__":
    main()
