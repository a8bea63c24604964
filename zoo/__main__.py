"""`python -m zoo` is the `zoo` command, and so is `zoo`."""

import signal
import sys

# Until `main` handles it: Ctrl-C would leave a traceback of what is being imported.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from zoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
