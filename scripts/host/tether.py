"""Run a program that ends as soon as the process that asked for it is gone, however that came about.

A script of its own, so only the standard library. Its standard input is a pipe that the asker holds open: the end of
that pipe is the order to stop.

    tether.py COMMAND...
"""

import os
import subprocess
import sys
import threading

# From the order to stop until it is killed, in seconds.
GRACE_S = 5.0


def main(command: list[str]) -> int:
    """Run *command* until it ends or standard input does; return its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=end_with_input, args=(child,), daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def end_with_input(child: subprocess.Popen[bytes]) -> None:
    """Wait until standard input ends, then end *child*."""
    # Not through sys.stdin, whose lock a daemon thread would hold at the interpreter's end.
    os.read(0, 1)
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
