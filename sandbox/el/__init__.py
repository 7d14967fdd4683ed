"""Enterprise-Linux-like hosts: Debian's files under the names, the dnf and the rpm of that family.

`sandbox/README.md` says what is real in them and what is not.
"""
