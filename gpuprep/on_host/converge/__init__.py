"""Carries out operations of a plan on a host; parts travel together (gpuprep.observe.ship)."""
