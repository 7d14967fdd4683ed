"""The probe: what runs on the host that is verified. Standard library only, Python 3.6 and newer.

The modules import each other relatively, so that they work under any package name;
``gpuprep/observe/probe.py`` packs them into one text for the host's ``python3 -S -E -``.
"""
