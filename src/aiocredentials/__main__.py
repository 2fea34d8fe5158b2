"""The entry point of `python -m aiocredentials doctor NAME...`."""

import sys

from aiocredentials.doctor.cli import main

if __name__ == "__main__":
    sys.exit(main())
