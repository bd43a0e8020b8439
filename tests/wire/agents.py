"""An agent's HTTP API in this process, on a port of loopback."""

import http.client
import json
import threading
from pathlib import Path
from typing import Any

from scripts.agent.health import Health
from scripts.agent.outcomes import Outcomes
from scripts.agent.pace import Pace
from scripts.agent.plans import Plans
from scripts.agent.server import Api, server
from scripts.agent.traffics import Traffics
from tests.doubles.disk_agent import World, two_versions

KEY = "a long enough key"


class Served:
    """An agent's API on a port of loopback."""

    def __init__(self, root: Path, *, key: str = KEY, open_to_all: bool = False) -> None:
        self.world: World = two_versions(root)
        self.plans = Plans(kept=root / "plan.json")
        self.traffics = Traffics(kept=root / "traffic", say=self.world.said.append)
        self.traffics.open()
        self.changes = 0
        self.pace = Pace(triton=self.world.triton)
        api = Api(
            follower=self.world.follower,
            plans=self.plans,
            traffics=self.traffics,
            outcomes=Outcomes(),
            health=Health(follower=self.world.follower),
            pace=self.pace,
            key=key,
            open=open_to_all,
            changed=self._change,
        )
        self.http = server(api, host="127.0.0.1", port=0)
        self.port = int(self.http.server_address[1])
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def _change(self) -> None:
        self.changes += 1

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Ask once, and return the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else text.decode()

    def post(self, body: Any, key: str | None = KEY) -> tuple[int, Any]:
        """Post a plan with *key*."""
        return self.ask("POST", "/v1/plan", body, **({} if key is None else {"triton_admin_key": key}))

    def close(self) -> None:
        """End it."""
        self.http.shutdown()
        self.http.server_close()
