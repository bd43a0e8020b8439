"""A web service that classifies uploaded images: one client for the whole process, typed errors to HTTP statuses.

Run:  pip install PATH_TO_THIS_REPOSITORY fastapi uvicorn
      TRITON_GRPC_URL=localhost:8001 uvicorn examples.fastapi_service:app
Ask:  curl --data-binary @photo.jpg localhost:8000/predict
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse

from triton_sdk import (
    AsyncResNetClient,
    DeadlineExceededError,
    InvalidImageError,
    ModelNotFoundError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)

# The first that fits counts. What is left is a fault between this service and its model: 502.
STATUS: dict[type[TritonError], int] = {
    InvalidImageError: 422,
    ServerOverloadedError: 503,
    ServerUnavailableError: 503,
    DeadlineExceededError: 504,
    TritonError: 502,
}


def create_app(connect: Callable[[], AsyncResNetClient] = AsyncResNetClient.from_env) -> FastAPI:
    """Make the service; *connect* is called when it starts, and tests give their own."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with connect() as client:
            app.state.client = client
            yield

    app = FastAPI(title="Image classifier", lifespan=lifespan)

    @app.post("/predict")
    async def predict(request: Request, version: Annotated[int | None, Query(ge=1, lt=2**31)] = None) -> dict[str, Any]:
        """Classify the image in the body; ``?version=2`` asks that version."""
        client: AsyncResNetClient = request.app.state.client
        found = await client.predict(await request.body(), version=version, top_k=3, timeout=2.0)
        return {
            "label": found.label,
            "probability": found.probability,
            "model_version": found.model_version,
            "top": {score.label: score.probability for score in found.top},
        }

    @app.get("/ready")
    async def ready(request: Request) -> JSONResponse:
        """Say whether the model can be asked, for the probe of an orchestrator."""
        up = await request.app.state.client.ready(timeout=1.0)
        return JSONResponse({"ready": up}, status_code=200 if up else 503)

    @app.exception_handler(TritonError)
    async def tell(request: Request, error: TritonError) -> JSONResponse:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        if isinstance(error, ModelNotFoundError) and "version" in request.query_params:
            status = 404  # the caller named it; a model that is gone is this service's fault
        # What the server said is for the log; what is wrong with the image is for the caller.
        detail = str(error) if status == 422 else type(error).__name__
        if status == 404:
            detail = f"there is no version {request.query_params['version']}"
        headers = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse({"error": detail}, status_code=status, headers=headers)

    return app


app = create_app()

if __name__ == "__main__":
    sys.exit(__doc__)
