"""An S3 on loopback that counts what it moves: moto's, for a process of its own, `python -m benchmarks.s3_server`."""

import json
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

COUNTS: Final = "/counts"

_Environ = dict[str, Any]
_Start = Callable[..., Any]
_App = Callable[[_Environ, _Start], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Write nothing."""


def counting(app: _App) -> _App:
    """Return *app* with a path that answers how many requests and bytes there were since it was asked last."""
    counts = {"requests": 0, "sent": 0, "received": 0}
    lock = threading.Lock()

    def count(**more: int) -> None:
        with lock:
            for name, number in more.items():
                counts[name] += number

    def answer(environ: _Environ, start: _Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == COUNTS:
            with lock:
                body = json.dumps(counts).encode()
                counts.update(dict.fromkeys(counts, 0))
            start("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        count(requests=1, sent=int(environ.get("CONTENT_LENGTH") or 0))

        def counted(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if environ["REQUEST_METHOD"] != "HEAD":
                count(received=sum(int(value) for name, value in headers if name.lower() == "content-length"))
            return start(status, headers, *more)

        return app(environ, counted)

    return answer


def main() -> None:
    """Print the port, and serve until the standard input ends, as it does with the program that started this."""
    app = counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
