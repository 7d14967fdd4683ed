"""All that runs on GPU hosts: standard library only, Python 3.6 or newer."""
