"""From observation and settings to a plan: what differs on a host, what to do about it, and why.

Pure: no I/O beyond reading gpuprep's own data files, no Ansible.
"""

from gpuprep.model import Settings
from gpuprep.planner.plan import HostPlan, observation_request, plan_host
from gpuprep.planner.settings import settings_from

__all__ = ["HostPlan", "Settings", "observation_request", "plan_host", "settings_from"]
