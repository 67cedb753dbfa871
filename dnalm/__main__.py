"""Makes `python -m dnalm` the same program as `dnalm`."""

import sys

from dnalm.cli import main
from dnalm.process import end

if __name__ == "__main__":
    sys.exit(end(main()))
