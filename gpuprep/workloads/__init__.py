"""What prepared hosts are used for, where gpuprep installs it; each is opt-in."""
