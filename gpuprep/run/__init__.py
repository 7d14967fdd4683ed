"""One run of ansible-playbook: start, watch, stop, collect."""
