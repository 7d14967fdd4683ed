"""Hosts that are Ubuntu to whoever asks, and the substitute of Ubuntu's archive for them.

The files are Debian's; names, identity, configuration and kernels are Ubuntu's.
"""
