"""`python -m entropix`."""

import sys

from entropix.cli import main

if __name__ == "__main__":
    sys.exit(main())
