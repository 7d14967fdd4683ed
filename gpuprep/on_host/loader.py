"""Import modules whose text travels with the program: the host has no file of ours.

Standard library only, Python 3.6 or newer.
"""

import base64
import importlib.machinery
import json
import sys
import zlib

ROOT = "gpuprep_on_host"  # package that the modules are parts of on a host
LOADER = "loader"


class ShippedModules:
    """Finds and loads modules among texts by full name."""

    def __init__(self, texts):
        self.texts = texts

    def find_spec(self, name, path=None, target=None):
        """Return the module's specification, None for modules of others."""
        del path, target
        part_of = [text for text in self.texts if text.startswith(name + ".")]
        if name not in self.texts and not part_of:
            return None
        return importlib.machinery.ModuleSpec(
            name, self, origin="<%s>" % name, is_package=bool(part_of)
        )

    def create_module(self, spec):
        """Return None: an ordinary module will do."""

    def exec_module(self, module):
        """Run a module's text."""
        text = self.texts.get(module.__name__, "")
        exec(compile(text, "<%s>" % module.__name__, "exec"), module.__dict__)  # noqa: S102


def install(texts):
    """Make modules of texts importable."""
    sys.meta_path.insert(0, ShippedModules(texts))


def packed(texts):
    """Return texts by name as one short text: it goes to every host of a fleet."""
    return base64.b64encode(zlib.compress(json.dumps(texts).encode("ascii"))).decode("ascii")


def unpacked(text):
    """Return the texts again."""
    return json.loads(zlib.decompress(base64.b64decode(text)).decode("ascii"))


def head(texts):
    """Return the beginning of a program: it makes the modules importable.

    The texts are the program's variable ``TEXTS``, with which it can write itself again.
    """
    own = texts["%s.%s" % (ROOT, LOADER)]
    return "%s\nTEXTS = unpacked(%r)\ninstall(TEXTS)" % (own, packed(texts))


def program(texts, *lines):
    """Return a program that makes the modules importable and then runs some lines."""
    return "\n".join([head(texts), *lines, ""])
