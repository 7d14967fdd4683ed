"""Turn bare GPU instances on Oracle Cloud Infrastructure into hosts proven ready to train."""

__version__ = "0.1.0"
