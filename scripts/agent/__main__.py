"""Run the agent: ``python3 -m scripts.agent --image /models --served /served --work /work``."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from scripts.agent.compose import Served
from scripts.agent.errors import AgentError
from scripts.agent.fetches import Fetches
from scripts.agent.follow import Follower
from scripts.agent.health import Health
from scripts.agent.library import Library
from scripts.agent.loading import Loader
from scripts.agent.outcomes import Outcomes
from scripts.agent.pace import EVERY_S, Pace
from scripts.agent.plans import PLAN, Plans
from scripts.agent.server import Api, server
from scripts.agent.stores import open_store
from scripts.agent.traffics import TRAFFIC, Traffics
from scripts.agent.triton import Triton

_TICK_S = 1.0
_LOOPBACK = "127.0.0.1"


def main() -> int:
    """Follow the plan until SIGTERM; return the exit status."""
    arguments = _arguments()
    key = os.environ.get("TRITON_ADMIN_KEY", "")
    if region := os.environ.get("AWS_REGION"):  # by which other tools know it
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    try:
        store = open_store(arguments.store) if arguments.store else None
        work = arguments.work.absolute()
        served = Served(
            folder=arguments.served.absolute(),
            work=work,
            config_name=arguments.config_name,
            overrides=arguments.overrides,
        )
        served.create()
        library = Library(image=arguments.image.absolute(), fetched=work / "fetched", store=store, room=arguments.room)
        library.create()
        plans = Plans(kept=work / PLAN, file=arguments.plan)
        plans.open()
        traffics = Traffics(kept=work / TRAFFIC, release=arguments.traffic, say=_say)
        traffics.open()
    except AgentError as error:
        _say(str(error))
        return 1
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}.")
        return 1
    wake, ended = threading.Event(), threading.Event()
    triton = Triton(host=arguments.http_host, port=arguments.http_port, metrics_port=arguments.metrics_port, key=key)
    loader = Loader(triton=triton, served=served, say=_say)
    follower = Follower(loader=loader, fetches=Fetches(library=library, ended=wake.set), say=_say)
    health = Health(follower=follower)
    pace = Pace(triton=triton)

    def end(*_: object) -> None:
        ended.set()
        wake.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    api = Api(
        follower=follower,
        plans=plans,
        traffics=traffics,
        outcomes=Outcomes(),
        health=health,
        pace=pace,
        key=key,
        open=arguments.open,
        changed=wake.set,
    )
    try:
        http = server(api, host=arguments.host, port=arguments.port)
    except OSError as error:
        _say(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}.")
        return 1
    threading.Thread(target=http.serve_forever, daemon=True).start()
    # Each apart from what may wait for a load, or for an answer.
    for look, every_s in ((health.look, _TICK_S), (pace.look, EVERY_S)):
        threading.Thread(target=_watch, args=(look, every_s, ended), daemon=True).start()
    _say(f"listening on {arguments.host}:{http.server_address[1]}")
    _follow(follower, plans, traffics, wake, ended)
    http.shutdown()
    return 0


def _follow(
    follower: Follower, plans: Plans, traffics: Traffics, wake: threading.Event, ended: threading.Event
) -> None:
    """Take a step now and then, and at once when there is news."""
    said = ""
    while not ended.is_set():
        wake.clear()
        fault = ""
        try:
            plans.look()
            traffics.look()
            follower.step(plans.current)
        except AgentError as error:
            fault = str(error)
        except Exception as error:  # nothing that happens to the agent may end what keeps the plan
            fault = repr(error)
        if fault and fault != said:
            _say(fault)
        said = fault
        wake.wait(_TICK_S)


def _watch(look: Callable[[], None], every_s: float, ended: threading.Event) -> None:
    """Look now and then."""
    while not ended.wait(every_s):
        try:
            look()
        except AgentError:  # the server is away: whoever follows the plan says so
            continue
        except Exception as error:  # the next look may work
            _say(repr(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m scripts.agent", description="Make Triton serve a plan.")
    parser.add_argument("--image", type=Path, required=True, help="the folder with the models of the image")
    parser.add_argument("--served", type=Path, required=True, help="the folder that Triton serves; the agent writes it")
    parser.add_argument("--work", type=Path, required=True, help="a folder on the same file system as --served")
    parser.add_argument("--plan", type=Path, help="the file with the release's plan")
    parser.add_argument("--traffic", type=Path, help="the folder with the release's traffic plans: traffic.MODEL.json")
    parser.add_argument("--store", default=os.environ.get("MODEL_STORE", ""), help="s3://BUCKET/PREFIX or file:///F")
    parser.add_argument("--config-name", default="", help="take configs/NAME.pbtxt of a model if it has that")
    parser.add_argument("--overrides", type=Path, help="a folder with configurations that win, as MODEL.pbtxt")
    parser.add_argument("--room", type=int, help="how many bytes fetched versions may take; default: all of the disk")
    parser.add_argument("--host", default=_LOOPBACK, help="where to listen, :: for everywhere; default: %(default)s")
    parser.add_argument("--port", type=int, default=8003, help="default: %(default)s")
    parser.add_argument("--http-host", default=_LOOPBACK, help="Triton's; default: %(default)s")
    parser.add_argument("--http-port", type=int, default=8000, help="Triton's; default: %(default)s")
    parser.add_argument("--metrics-port", type=int, default=8002, help="Triton's; default: %(default)s")
    parser.add_argument("--open", action="store_true", help="take plans without the admin key: for loopback only")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stderr.write(f"agent: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
