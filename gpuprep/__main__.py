"""``python -m gpuprep``: the command line."""

from gpuprep.cli import main

if __name__ == "__main__":
    main()
