"""Makes `python -m dnalm` the same program as `dnalm`."""

import sys

from dnalm.cli import main

if __name__ == "__main__":
    sys.exit(main())
