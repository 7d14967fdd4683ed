#!/usr/bin/python
"""Documentation of the action gpuprep.core.faceswap_jobs."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: faceswap_jobs
short_description: Run jobs of Faceswap on a host - extract, train, convert, label
description:
  - Checks a file of jobs, with the consent of the persons that it shows, before anything is copied or started.
  - Brings what the jobs read, starts a unit for each, C(gpuprep-faceswap@JOB), and brings the labelled videos back.
  - A job that was stopped, or whose host was, goes on where it was. What is done is not done again.
  - The host has to have Faceswap from the role P(gpuprep.core.faceswap#role).
author: The gpuprep project (@gpuprep)
options:
  file:
    description: Path of the file of jobs, on the controller. What it names is looked for beside it.
    type: path
    required: true
  state:
    description:
      - V(done) waits until the jobs are done and brings their videos.
      - V(started) does not wait.
      - V(stopped) stops them; training saves first.
    type: str
    choices: [done, started, stopped]
    default: done
  minutes:
    description: How long V(done) waits; the jobs go on by themselves. V(0) is as long as it takes.
    type: float
    default: 0
attributes:
  check_mode:
    support: full
    description: Looks at the host, and tells what would be brought, started or stopped.
  diff_mode:
    support: none
    description: There are no texts to compare.
"""

EXAMPLES = r"""
- name: Make the videos
  gpuprep.core.faceswap_jobs:
    file: faceswap.yml
"""

RETURN = r"""
changes:
  description: What was done, in words.
  type: list
  elements: str
  returned: unless the jobs are refused
jobs:
  description: Where each job is - state, step, iteration, iterations in a second, losses, use of the GPUs.
  type: dict
  returned: unless the jobs are refused
code:
  description: Stable code of why the jobs were refused or failed.
  type: str
  returned: failure
"""
