"""The process that has a library for itself."""

import sys

from zoo.runtimes.serving import main

if __name__ == "__main__":
    main(sys.argv[1:])
