"""From observation and wishes to a plan: what differs on a host, what to do about it, and why.

Pure: no I/O beyond reading gpuprep's own data files, no Ansible.
"""

from gpuprep.planner.plan import HostPlan, observation_request, plan_host
from gpuprep.planner.settings import Wishes, wishes_from

__all__ = ["HostPlan", "Wishes", "observation_request", "plan_host", "wishes_from"]
