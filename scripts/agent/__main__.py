"""Run the agent: ``python3 -m scripts.agent --image /models --served /served --work /work``."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from scripts.agent.compose import Served
from scripts.agent.errors import AgentError
from scripts.agent.follow import Follower
from scripts.agent.health import Health
from scripts.agent.library import Library
from scripts.agent.plans import Plans
from scripts.agent.server import Api, server
from scripts.agent.stores import open_store
from scripts.agent.triton import Triton

_TICK_S = 1.0


def main() -> int:
    """Follow the plan until SIGTERM; return the exit status."""
    arguments = _arguments()
    key = os.environ.get("TRITON_ADMIN_KEY", "")
    try:
        store = open_store(arguments.store) if arguments.store else None
        served = Served(folder=arguments.served, work=arguments.work, config_name=arguments.config_name)
        served.create()
        plans = Plans(kept=arguments.kept or arguments.work / "plan.json", file=arguments.plan)
        plans.open()
    except AgentError as error:
        _say(str(error))
        return 1
    triton = Triton(host="127.0.0.1", port=arguments.http_port, metrics_port=arguments.metrics_port, key=key)
    library = Library(image=arguments.image, fetched=arguments.work / "fetched", store=store)
    follower = Follower(triton=triton, served=served, library=library, say=_say)
    health = Health(follower=follower)
    wake, ended = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        ended.set()
        wake.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    api = Api(follower=follower, plans=plans, health=health, key=key, open=arguments.open, changed=wake.set)
    http = server(api, host=arguments.host, port=arguments.port)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    threading.Thread(target=_watch, args=(health, ended), daemon=True).start()
    _say(f"listening on {arguments.host}:{http.server_address[1]}")
    while not ended.is_set():
        wake.clear()
        plans.look()
        try:
            follower.step(plans.current)
        except (AgentError, OSError) as error:
            _say(str(error))
        wake.wait(_TICK_S)
    http.shutdown()
    return 0


def _watch(health: Health, ended: threading.Event) -> None:
    """Look at the models' health, apart from what may wait for a load."""
    while not ended.wait(_TICK_S):
        health.look()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m scripts.agent", description="Make Triton serve a plan.")
    parser.add_argument("--image", type=Path, required=True, help="the folder with the models of the image")
    parser.add_argument("--served", type=Path, required=True, help="the folder that Triton serves; the agent writes it")
    parser.add_argument("--work", type=Path, required=True, help="a folder on the same file system as --served")
    parser.add_argument("--plan", type=Path, help="the file with the release's plan")
    parser.add_argument("--kept", type=Path, help="where the followed plan is kept; default: in --work")
    parser.add_argument("--store", default=os.environ.get("MODEL_STORE", ""), help="s3://BUCKET/PREFIX or file:///F")
    parser.add_argument("--config-name", default="", help="take configs/NAME.pbtxt of a model if it has that")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default: %(default)s")
    parser.add_argument("--port", type=int, default=8003, help="default: %(default)s")
    parser.add_argument("--http-port", type=int, default=8000, help="Triton's; default: %(default)s")
    parser.add_argument("--metrics-port", type=int, default=8002, help="Triton's; default: %(default)s")
    parser.add_argument("--open", action="store_true", help="take plans without the admin key: for loopback only")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stderr.write(f"agent: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
