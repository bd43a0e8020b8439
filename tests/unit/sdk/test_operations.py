"""What each call of a client sends, and what it makes of the answers. On a clock that stands still."""

import io
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs import photograph
from tests.doubles.fake_triton import FakeTriton, image
from tests.doubles.scripted import ScriptedTransport, drive, infer, predict, session
from triton_sdk import ConfigurationError, DeadlineExceededError, InvalidImageError, InvalidRequestError, ServerError
from triton_sdk._flow import operations
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Session
from triton_sdk.contract import Fit
from triton_sdk.images import to_pixels

LOST = Failure("UNAVAILABLE", "Socket closed")


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a transport to a server that answers at once."""
    return ScriptedTransport()


@pytest.fixture
def shared(transport: ScriptedTransport) -> Session:
    """Return what the calls share, the contract known."""
    known = session(transport)
    drive(operations.contract(known, deadline=known.clock() + 30), transport)
    transport.sent.clear()
    return known


class TestInfer:
    def test_a_large_batch_stays_with_one_version(self, transport: ScriptedTransport, shared: Session) -> None:
        """Parts behind the first go to the version that answered it, though a newer one came up in between."""

        def upgrade(_method: str, _message: object) -> None:
            if transport.server.count("ModelInfer") == 2:
                transport.server.versions = (1, 2, 3)

        transport.server.twist = upgrade
        answer = infer(shared, transport, *range(10))
        assert [(version, len(tensor)) for version, tensor in transport.server.batches()] == [
            ("", 4),
            ("2", 4),
            ("2", 2),
        ]
        assert answer.model_version == 2
        assert answer.scores.argmax(axis=1).tolist() == [(value + 2) % 5 for value in range(10)]

    def test_a_model_without_batch_axis_takes_images_one_by_one(self) -> None:
        """Each image is a request of its own, without an axis for the batch."""
        transport = ScriptedTransport(server=FakeTriton(max_batch=0))
        assert infer(session(transport), transport, 1, 2).scores.shape == (2, 5)
        assert [tensor.shape for _, tensor in transport.server.batches()] == [(8, 8, 3)] * 2

    @pytest.mark.parametrize(
        ("tensor", "words"),
        [
            (np.zeros((1, 8, 8, 3), np.float32), r"float32 \(1, 8, 8, 3\): .*image UINT8 \(n, 8, 8, 3\)"),
            (np.zeros((1, 3, 8, 8), np.uint8), r"uint8 \(1, 3, 8, 8\)"),
            (np.zeros((8, 8, 3), np.uint8), r"uint8 \(8, 8, 3\)"),
            (np.zeros((0, 8, 8, 3), np.uint8), "empty batch"),
            ([[1]], "list"),
        ],
    )
    def test_a_tensor_that_does_not_fit_is_not_sent(
        self, transport: ScriptedTransport, shared: Session, tensor: NDArray[Any], words: str
    ) -> None:
        """The error says what was expected and what was given; the server is asked at most what it takes now."""
        with pytest.raises(InvalidRequestError, match=words):
            drive(operations.infer(shared, tensor, version=None, deadline=shared.clock() + 1), transport)
        assert transport.methods in ([], ["ModelConfig"])

    def test_nan_is_not_sent(self) -> None:
        """A float tensor with NaN is refused here, for the server would compute with it."""
        transport = ScriptedTransport(server=FakeTriton(dtype="FP32"))
        shared = session(transport)
        tensor = np.full((1, 3, 8, 8), np.nan, np.float32)
        with pytest.raises(InvalidRequestError, match="NaN"):
            drive(operations.infer(shared, tensor, version=None, deadline=shared.clock() + 1), transport)


class TestPredict:
    def test_a_uint8_model_gets_pixels(self, transport: ScriptedTransport, shared: Session) -> None:
        """Its tensor is what the image holds, and the answer has the server's names and version."""
        (prediction,) = predict(shared, transport, image(4))
        assert (prediction.label, prediction.model_version, len(prediction.top)) == ("dog", 2, 2)
        ((_, tensor),) = transport.server.batches()
        assert tensor.dtype == np.uint8
        assert (tensor == 4).all()

    def test_a_float_model_gets_normalised_planes(self) -> None:
        """Its tensor is (pixels / 255 - mean) / std, channels first."""
        server = FakeTriton(dtype="FP32", parameters={"image.mean": "0.5,0.25,0", "image.std": "0.5,0.5,2"})
        transport = ScriptedTransport(server=server)
        predict(session(transport), transport, image(255))
        ((_, tensor),) = server.batches()
        assert tensor.shape == (1, 3, 8, 8)
        assert tensor[0, :, 0, 0].tolist() == [1.0, 1.5, 0.5]

    def test_contract_and_labels_are_read_once(self, transport: ScriptedTransport) -> None:
        """Ten predictions make one request for the contract, one for the labels, and ten more."""
        shared = session(transport)
        for _ in range(10):
            predict(shared, transport, image(1))
        assert transport.server.count("ModelConfig") == 1
        assert transport.server.count("ModelInfer") == 11

    def test_the_users_labels_come_first(self, transport: ScriptedTransport) -> None:
        """With labels given, the server is not asked for its own."""
        (prediction,) = predict(session(transport, labels="abcde"), transport, image(0))
        assert prediction.label == "c"
        assert transport.server.count("ModelInfer") == 1

    def test_labels_of_the_wrong_count_are_refused(self, transport: ScriptedTransport) -> None:
        """Four names for five classes are an error before any image is sent."""
        with pytest.raises(ConfigurationError, match=r"4 labels.*5 classes"):
            predict(session(transport, labels="abcd"), transport, image(0))
        assert transport.methods == ["ModelConfig"]

    def test_a_model_without_labels_is_no_error(self) -> None:
        """Classes without names are numbered."""
        transport = ScriptedTransport(server=FakeTriton(labelled=False))
        (prediction,) = predict(session(transport), transport, image(0))
        assert prediction.label == "class 2"

    def test_a_bad_image_is_named_by_its_place(self, transport: ScriptedTransport, shared: Session) -> None:
        """The error says which of the user's images it is about, and nothing is sent."""
        with pytest.raises(InvalidImageError, match=r"Image 33 \(counted from 0\)"):
            predict(shared, transport, image(1), b"no image", first=32)
        assert transport.sent == []


def test_the_configuration_says_how_pictures_are_made() -> None:
    """Filter and fit of the version that answers are the client's, as its own images.to_pixels makes them."""
    parameters = {"image.fit": "squash", "image.interpolation": "nearest", "image.fit.2": "pad"}
    transport = ScriptedTransport(server=FakeTriton(parameters=parameters))
    shared = session(transport, labels="abcde")
    picture = np.asarray(photograph(30, 20))
    predict(shared, transport, picture, version=1)
    predict(shared, transport, picture, version=2)
    for (version, tensor), fit in zip(transport.server.batches(), get_args(Fit)[1:], strict=True):
        expected = to_pixels(picture, resize=8, height=8, width=8, interpolation="nearest", fit=fit)
        assert (version, fit) in (("1", "squash"), ("2", "pad"))
        np.testing.assert_array_equal(tensor[0], expected)


class TestResizeOfVersions:
    """Version 1 resizes to 8, which keeps a picture's edge; version 2 to 16, which crops it away."""

    @pytest.fixture
    def transport(self) -> ScriptedTransport:
        """Return a transport to a server whose versions differ in their resize."""
        return ScriptedTransport(server=FakeTriton(parameters={"image.resize": "8", "image.resize.2": "16"}))

    @pytest.fixture
    def framed(self) -> NDArray[np.uint8]:
        """Return a black picture with a white frame, uint8 ``(16, 16, 3)``."""
        picture = np.full((16, 16, 3), 255, np.uint8)
        picture[4:12, 4:12] = 0
        return picture

    def test_the_version_that_answers_decides(self, transport: ScriptedTransport, framed: NDArray[np.uint8]) -> None:
        """An image made for another version than the one that answers is made again, once, and sent to that one."""
        shared = session(transport, labels="abcde")
        (prediction,) = predict(shared, transport, framed)
        (first, framed_tensor), (second, cropped_tensor) = transport.server.batches()
        assert (first, second, prediction.model_version) == ("", "2", 2)
        assert framed_tensor.max() == 255
        assert cropped_tensor.max() == 0

    def test_the_second_call_knows(self, transport: ScriptedTransport, framed: NDArray[np.uint8]) -> None:
        """The next image is made for the version that answered last, and sent once."""
        shared = session(transport, labels="abcde")
        predict(shared, transport, framed)
        transport.server.asked.clear()
        predict(shared, transport, framed)
        ((version, tensor),) = transport.server.batches()
        assert (version, tensor.max()) == ("", 0)

    def test_a_version_that_came_later_brings_its_own_resize(
        self, transport: ScriptedTransport, framed: NDArray[np.uint8]
    ) -> None:
        """When an unknown version answers, the contract is read again before its answer is believed."""
        shared = session(transport, labels="abcde")
        predict(shared, transport, framed)
        transport.server.versions = (1, 2, 3)
        transport.server.parameters["image.resize.3"] = "8"
        transport.server.asked.clear()
        (prediction,) = predict(shared, transport, framed)
        assert prediction.model_version == 3
        assert [(version, tensor.max()) for version, tensor in transport.server.batches()] == [("", 0), ("3", 255)]
        assert transport.server.count("ModelConfig") == 1

    def test_an_asked_version_is_made_for_at_once(
        self, transport: ScriptedTransport, framed: NDArray[np.uint8]
    ) -> None:
        """With a version given, one request is enough."""
        shared = session(transport, labels="abcde")
        predict(shared, transport, framed, version=2)
        ((version, tensor),) = transport.server.batches()
        assert (version, tensor.max()) == ("2", 0)

    def test_an_open_file_can_be_made_twice(self, transport: ScriptedTransport) -> None:
        """A file that can be read only once still gives the second tensor."""
        file = io.BytesIO()
        Image.fromarray(image(3)).save(file, "PNG")
        file.seek(0)
        (prediction,) = predict(session(transport, labels="abcde"), transport, file)
        assert prediction.index == (3 + 2) % 5
        assert len(transport.server.batches()) == 2


class TestReady:
    def wait(
        self, transport: ScriptedTransport, model: str = "clf", version: int | None = None, timeout: float = 60
    ) -> None:
        """Wait until the model is ready."""
        shared = session(transport, model=model)
        flow = operations.wait_ready(shared, version=version, deadline=shared.clock() + timeout, timeout=timeout)
        drive(flow, transport)

    def test_waiting_ends_with_the_first_yes(self, transport: ScriptedTransport) -> None:
        """A server that starts is asked ever less often, up to once a second, until it is there."""
        transport.fail(*[LOST] * 8)
        self.wait(transport)
        assert transport.clock.sleeps == pytest.approx([0.75 * min(1, 0.05 * 2**n) for n in range(8)])

    @pytest.mark.parametrize(
        ("model", "version", "reason"),
        [
            ("broken", None, "no such file"),
            ("clf", 7, "ready there: 1, 2"),
            ("other", None, "the server does not have it"),
        ],
    )
    def test_the_error_has_the_last_reason(
        self, transport: ScriptedTransport, model: str, version: int | None, reason: str
    ) -> None:
        """At the deadline the error says what the server said last, and not before."""
        begin = transport.clock.now
        with pytest.raises(DeadlineExceededError, match=f"after 20 s: .*{reason}"):
            self.wait(transport, model, version, timeout=20)
        assert transport.clock.now == pytest.approx(begin + 20)

    def test_waiting_does_not_hope_for_credentials(self, transport: ScriptedTransport) -> None:
        """A refusal that time does not mend ends the wait at once."""
        transport.fail(Failure("UNAUTHENTICATED", "bad token"))
        with pytest.raises(ServerError, match="bad token"):
            self.wait(transport)
        assert transport.clock.sleeps == []

    @pytest.mark.parametrize(("model", "ready"), [("clf", True), ("broken", False)])
    def test_ready_says_what_the_server_says(self, transport: ScriptedTransport, model: str, ready: bool) -> None:
        """One request decides."""
        shared = session(transport, model=model)
        assert drive(operations.ready(shared, version=None, deadline=shared.clock() + 1), transport) is ready

    def test_no_answer_is_not_ready(self, transport: ScriptedTransport, shared: Session) -> None:
        """A server that cannot be reached is not ready, and is not asked twice."""
        transport.fail(LOST)
        assert drive(operations.ready(shared, version=None, deadline=shared.clock() + 1), transport) is False
        assert len(transport.sent) == 1

    def test_versions_are_the_ready_ones(self, transport: ScriptedTransport) -> None:
        """Versions are sorted; a model of which nothing is loaded has none."""
        transport.server.versions = (10, 9)
        for model, expected in (("clf", (9, 10)), ("broken", ())):
            shared = session(transport, model=model)
            assert drive(operations.versions(shared, deadline=shared.clock() + 1), transport) == expected
