"""Provisioning: a fleet of GPU hosts on OCI, by own tags and retry tokens, without a state file.

``desired`` and ``settings`` are what is asked for, ``plan``, ``placement``, ``images``, ``bodies``,
``identity`` and ``failures`` decide, ``calls``, ``network``, ``launching``, ``reach`` and ``run``
do, ``result`` tells; ``fleet.provision`` is the way in.
"""
