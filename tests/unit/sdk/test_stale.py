"""A client that goes on while its model is replaced by one with another contract: it learns anew, once."""

import asyncio
import io
from typing import Any

import attrs
import numpy as np
import pytest
from PIL import Image

from tests.doubles.fake_triton import CLASSES, FakeTriton, Refused, image
from tests.doubles.scripted import ScriptedTransport, drive, infer, predict, session
from triton_sdk import (
    AsyncResNetClient,
    Coalesce,
    ConfigurationError,
    ContractError,
    InferenceFailedError,
    InvalidRequestError,
    ModelContract,
    ResNetClient,
)
from triton_sdk._flow import operations
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Session
from triton_sdk._wire.memory import MemoryTriton, parsed

LOST = Failure("UNAVAILABLE", "Socket closed")


@attrs.define
class Renewed(FakeTriton):
    """A server whose model may be replaced under its clients, and which is as strict as Triton about what it gets."""

    renewal: dict[str, Any] | None = None
    """What of the contract is another now."""

    def answer(self, method: str, message: Any) -> Any:
        """Return the reply of the model that is served now."""
        if self.renewal is None:
            return super().answer(method, message)
        known = attrs.evolve(self._contract(), **self.renewal)
        if method == "ModelInfer":
            message = parsed(method, message)
            self._check(message, known)
        self.asked.append((method, message))

        def score(images: Any, _version: int) -> Any:
            return np.full((len(images), known.classes), 1 / known.classes, "<f4")

        served = MemoryTriton(contract=known, versions=self.versions, labels=["new"] * known.classes, score=score)
        return served.answer(method, message)

    def _check(self, message: Any, known: ModelContract) -> None:
        (given,), (wanted,) = message.inputs, message.outputs
        expected = [*known.input.shape] if not known.input.batch else [given.shape[0], *known.input.shape]
        if (given.name, given.datatype, list(given.shape)) != (known.input.name, known.input.dtype, expected):
            self.asked.append(("ModelInfer", message))
            raise Refused("INVALID_ARGUMENT", f"unexpected input {given.name!r} for model 'clf'")
        if wanted.name != known.output.name:
            self.asked.append(("ModelInfer", message))
            raise Refused("INVALID_ARGUMENT", f"unexpected inference output '{wanted.name}' for model 'clf'")


BEFORE = FakeTriton()._contract()
RENEWALS: dict[str, dict[str, Any]] = {
    "smaller batches": {"max_batch": 2},
    "no batches": {
        "max_batch": 0,
        "input": attrs.evolve(BEFORE.input, batch=""),
        "output": attrs.evolve(BEFORE.output, batch=""),
    },
    "another type": {"input": attrs.evolve(BEFORE.input, dtype="FP32")},
    "another size": {"input": attrs.evolve(BEFORE.input, shape=(16, 16, 3)), "resize": 20},
    "another order of axes": {"input": attrs.evolve(BEFORE.input, shape=(3, 8, 8)), "layout": "NCHW"},
    "another input": {"input": attrs.evolve(BEFORE.input, name="picture")},
    "another output": {"output": attrs.evolve(BEFORE.output, name="probabilities")},
    "more classes": {"output": attrs.evolve(BEFORE.output, shape=(7,))},
    "fewer classes": {"output": attrs.evolve(BEFORE.output, shape=(3,))},
}


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a transport to a server whose model can be replaced."""
    return ScriptedTransport(server=Renewed())


@pytest.fixture
def shared(transport: ScriptedTransport) -> Session:
    """Return what the calls share, after one that went well."""
    known = session(transport)
    predict(known, transport, image(1), image(2), image(3))
    transport.server.asked.clear()
    transport.sent.clear()
    return known


@pytest.mark.parametrize("version", [None, 1])
@pytest.mark.parametrize("renewal", RENEWALS.values(), ids=RENEWALS)
def test_a_running_client_takes_up_the_new_contract(
    transport: ScriptedTransport, shared: Session, renewal: dict[str, Any], version: int | None
) -> None:
    """Whatever of it changes, the next call goes well, with the new names, and the contract is asked for once."""
    transport.server.renewal = renewal  # type: ignore[attr-defined]  # it is a Renewed
    found = predict(shared, transport, image(1), image(2), image(3), version=version)
    assert [prediction.label for prediction in found] == ["new"] * 3
    assert transport.methods.count("ModelConfig") == 1
    transport.sent.clear()
    predict(shared, transport, image(1), version=version)
    assert "ModelConfig" not in transport.methods
    assert drive(operations.contract(shared, deadline=shared.clock() + 1), transport).max_batch == renewal.get(
        "max_batch", 4
    )


@pytest.mark.parametrize("client", [ResNetClient, AsyncResNetClient])
def test_predict_many_goes_on_after_a_rollout_that_lowers_the_batch(client: Any) -> None:
    """All of its requests fit again, in both clients, and with shared requests."""
    transport = ScriptedTransport(server=Renewed())

    def smaller() -> None:
        transport.server.renewal = {"max_batch": 2}  # type: ignore[attr-defined]  # it is a Renewed

    if client is ResNetClient:
        with ResNetClient("triton:8001", model="clf", transport=transport) as threads:
            threads.predict_many([image(1)] * 8)
            smaller()
            assert len(threads.predict_many([image(1)] * 8)) == 8
            assert threads.contract().max_batch == 2
        return

    async def main() -> None:
        rule = Coalesce(max_batch=4, max_wait_s=0.01)
        async with AsyncResNetClient("triton:8001", model="clf", transport=transport, coalesce=rule) as loop:
            await loop.predict_many([image(1)] * 8)
            smaller()
            assert len(await loop.predict_many([image(1)] * 8)) == 8
            assert len(await asyncio.gather(*(loop.predict(image(1)) for _ in range(8)))) == 8
            assert (await loop.contract()).max_batch == 2

    asyncio.run(main())


def test_a_tensor_that_still_fits_is_sent_again(transport: ScriptedTransport, shared: Session) -> None:
    """infer() cuts it into the parts that the model takes now."""
    transport.server.renewal = {"max_batch": 2}  # type: ignore[attr-defined]  # it is a Renewed
    assert infer(shared, transport, 1, 2, 3).scores.shape == (3, CLASSES)


def test_a_tensor_that_fits_no_more_is_told_by_the_new_contract(transport: ScriptedTransport, shared: Session) -> None:
    """The error says what the model takes now, and so does contract() after it."""
    transport.server.renewal = RENEWALS["another size"]  # type: ignore[attr-defined]  # it is a Renewed
    with pytest.raises(InvalidRequestError, match=r"takes image UINT8 \(n, 16, 16, 3\)"):
        infer(shared, transport, 1)
    assert drive(operations.contract(shared, deadline=shared.clock() + 1), transport).input.shape == (16, 16, 3)


def test_a_tensor_for_the_new_contract_is_taken(transport: ScriptedTransport, shared: Session) -> None:
    """Who knows of the rollout before the client does need not make a new one."""
    transport.server.renewal = RENEWALS["another size"]  # type: ignore[attr-defined]  # it is a Renewed
    tensor = np.zeros((1, 16, 16, 3), np.uint8)
    flow = operations.infer(shared, tensor, version=None, deadline=shared.clock() + 1)
    assert drive(flow, transport).scores.shape == (1, CLASSES)


def test_a_refusal_that_has_another_reason_is_told_once(transport: ScriptedTransport, shared: Session) -> None:
    """Where the contract is the same, the server's refusal stands, after one question and not before the next call."""
    for _ in range(2):
        transport.fail(Failure("INVALID_ARGUMENT", "no such picture"))
        transport.sent.clear()
        with pytest.raises(InvalidRequestError, match="no such picture"):
            predict(shared, transport, image(1))
        assert transport.methods == ["ModelInfer", "ModelConfig"]
    transport.sent.clear()
    predict(shared, transport, image(1))
    # The names of the classes are still known.
    assert transport.methods == ["ModelInfer"]


def test_where_nobody_says_what_is_taken_now_the_refusal_stands(transport: ScriptedTransport, shared: Session) -> None:
    """The error is the server's first word, not that it then fell silent."""
    transport.fail(Failure("INVALID_ARGUMENT", "no such picture"), LOST, LOST, LOST)
    with pytest.raises(InvalidRequestError, match="no such picture"):
        predict(shared, transport, image(1))


def test_a_model_that_is_no_classifier_any_more_is_told(transport: ScriptedTransport, shared: Session) -> None:
    """The error says what it is instead."""
    output = attrs.evolve(BEFORE.output, name="boxes", shape=(100, 4))
    transport.server.renewal = {"output": output}  # type: ignore[attr-defined]  # it is a Renewed
    with pytest.raises(ContractError, match="no image classifier"):
        predict(shared, transport, image(1))


def test_the_users_labels_may_fit_no_more(transport: ScriptedTransport) -> None:
    """Names that were given for another number of classes are told, not shifted."""
    named = session(transport, labels="abcde")
    predict(named, transport, image(1))
    transport.server.renewal = RENEWALS["more classes"]  # type: ignore[attr-defined]  # it is a Renewed
    with pytest.raises(ConfigurationError, match=r"5 labels.*7 classes"):
        predict(named, transport, image(1))


def test_an_open_file_is_sent_again(transport: ScriptedTransport, shared: Session) -> None:
    """A file that can be read once is still there for the second try, with a version named as well."""
    transport.server.renewal = RENEWALS["another size"]  # type: ignore[attr-defined]  # it is a Renewed
    file = io.BytesIO()
    Image.fromarray(image(3)).save(file, "PNG")
    file.seek(0)
    (prediction,) = predict(shared, transport, file, version=1)
    assert prediction.label == "new"


def test_a_broken_answer_is_still_an_error(transport: ScriptedTransport, shared: Session) -> None:
    """Learning anew is no loop: what does not fit twice is told."""

    class Broken(FakeTriton):
        """A server whose scores are never as many as it says."""

        def answer(self, method: str, message: Any) -> Any:
            """Return the reply with a part of its scores."""
            reply = super().answer(method, message)
            if method == "ModelInfer":
                reply.raw_output_contents[0] = reply.raw_output_contents[0][:-4]
            return reply

    transport.server = Broken()
    with pytest.raises(InferenceFailedError, match="16 bytes for 1 images"):
        infer(shared, transport, 1)
    assert transport.methods == ["ModelInfer", "ModelConfig"]
