"""Start what docker-compose.yml describes until Ctrl-C: `python -m scripts.compose`."""

import argparse
import shutil
import signal
import sys
import threading
from pathlib import Path

from scripts.compose.topology import Topology
from scripts.engines import EngineError
from scripts.engines.process import new_folder


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.compose", description=__doc__)
    parser.add_argument("--dir", type=Path, help="where data and logs live, and stay (a temporary folder)")
    parser.add_argument("--free-ports", action="store_true", help="listen on free ports, not on compose's")
    options = parser.parse_args()
    folder = options.dir or new_folder("compose")
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    leaving = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: leaving.set())
    topology = Topology(folder.resolve(), ports_as_published=not options.free_ports)
    try:
        topology.start(lambda name: print(f"{name} is ready", flush=True))
        for there, address in topology.addresses.items():
            print(f"{there:18} {address}")
        for name in topology.left_out:
            print(f"{name} is left out: there is no such program here")
        print(f"logs are in {folder}; Ctrl-C stops all", flush=True)
        leaving.wait()
    except EngineError as error:
        print(f"compose: {error}", file=sys.stderr)
        return 1
    finally:
        topology.stop()
        if options.dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
