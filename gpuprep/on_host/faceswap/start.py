"""What the unit of a job runs: this file stands beside the package that it imports."""

import sys

from gpuprep_on_host.faceswap.runner import main

sys.exit(main(sys.argv[1:]))
