"""What a call with a fallback sends, in which order, and which failures are final."""

import io
from typing import Any

import pytest
from PIL import Image

from tests.doubles.fake_triton import Refused, image
from tests.unit.sdk.routing.caller import Caller, broken, caller
from triton_sdk import (
    DeadlineExceededError,
    Fallback,
    InferenceFailedError,
    InvalidImageError,
    ModelNotFoundError,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)
from triton_sdk._flow.failures import Failure

LOST = Failure("UNAVAILABLE", "Socket closed")


class TestFallback:
    def test_the_first_version_answers_alone(self, client: Caller) -> None:
        """Where it works, nobody else is asked."""
        (prediction,) = client.predict(version=Fallback(1, 2))
        assert (prediction.model_version, client.transport.methods) == (1, ["ModelInfer"])

    def test_a_version_that_is_missing_gives_way(self, client: Caller) -> None:
        """The next one answers with labels and its own name."""
        (prediction,) = client.predict(image(4), version=Fallback(7, 1))
        assert (prediction.model_version, prediction.label) == (1, "cat")
        assert client.inferred == ["7", "1"]

    def test_a_missing_version_is_asked_once_a_second(self, client: Caller) -> None:
        """In between the calls cost no more than others; when it is there, it is used again."""
        client.predict(version=Fallback(7, 1))
        client.forget()
        for _ in range(5):
            client.predict(version=Fallback(7, 1))
        assert client.transport.methods == ["ModelInfer"] * 5
        client.server.versions = (1, 2, 7)
        client.transport.clock.now += 1
        (prediction,) = client.predict(version=Fallback(7, 1))
        assert prediction.model_version == 7

    def test_a_missing_version_is_still_asked_for_by_name(self, client: Caller) -> None:
        """Only a Fallback passes it over, and only while another one is left."""
        client.predict(version=Fallback(7, 1))
        client.server.versions = (7,)
        assert client.predict(version=7)[0].model_version == 7
        assert client.predict(version=Fallback(1, 7))[0].model_version == 7

    def test_a_version_that_fails_gives_way_each_time(self, client: Caller) -> None:
        """A failure may be the image's, so the version is asked again with the next one."""
        client.server.twist = broken(2)
        for _ in range(2):
            assert client.predict(version=Fallback(2, 1))[0].model_version == 1
        assert client.inferred == ["2", "1"] * 2

    def test_the_labels_do_not_need_the_broken_version(self) -> None:
        """A first call whose latest version is broken still gets its names."""
        client = caller()

        def twist(method: str, message: Any) -> None:
            if method == "ModelInfer" and message.model_version in ("", "2"):
                raise Refused("INTERNAL", "ValueError: boom")

        client.server.twist = twist
        assert client.predict(image(4), version=Fallback(2, 1))[0].label == "cat"

    def test_a_version_that_is_not_ready_gives_way_to_one_that_is(self, client: Caller) -> None:
        """After its retries, the server is asked whether the next one is ready; for a second it is not asked again."""
        client.server.twist = broken(2, "UNAVAILABLE", "version 2 is not at ready state")
        assert client.predict(version=Fallback(2, 1))[0].model_version == 1
        assert client.transport.methods == [*["ModelInfer"] * 3, "ModelReady", "ModelInfer"]
        client.forget()
        assert client.predict(version=Fallback(2, 1))[0].model_version == 1
        assert client.transport.methods == ["ModelInfer"]

    def test_an_unready_version_in_between_is_passed_over(self, client: Caller) -> None:
        """Of three, the last one answers."""
        client.server.twist = broken(2, "UNAVAILABLE", "version 2 is not at ready state")
        assert client.predict(version=Fallback(2, 7, 1))[0].model_version == 1
        assert client.transport.methods[3:] == ["ModelReady", "ModelReady", "ModelInfer"]

    def test_a_lost_server_is_not_asked_twice_over(self, client: Caller) -> None:
        """Beyond the retries that every call has, one small question is sent, and the error is the first version's."""
        client.transport.fail(*[LOST] * 10)
        with pytest.raises(ServerUnavailableError, match="Socket closed"):
            client.predict(version=Fallback(2, 1))
        assert client.transport.methods == [*["ModelInfer"] * 3, "ModelReady"]

    @pytest.mark.parametrize(
        ("failure", "error"),
        [
            (Failure("UNAVAILABLE", "Exceeds maximum queue size"), ServerOverloadedError),
            (Failure("DEADLINE_EXCEEDED", "too slow"), DeadlineExceededError),
            (Failure("UNAUTHENTICATED", "no token"), ServerError),
        ],
    )
    def test_other_failures_are_final(self, client: Caller, failure: Failure, error: type[TritonError]) -> None:
        """A full queue is not answered with more load, and what refuses all versions is not tried on all."""
        client.transport.fail(failure)
        with pytest.raises(error):
            client.predict(version=Fallback(2, 1))
        assert client.transport.methods == ["ModelInfer"]

    def test_a_bad_image_is_final(self, client: Caller) -> None:
        """No version can read it."""
        with pytest.raises(InvalidImageError, match="Image 0"):
            client.predict(b"no image", version=Fallback(2, 1))
        assert client.transport.sent == []

    def test_the_last_error_tells_of_those_before(self, client: Caller) -> None:
        """It is raised with its own cause; notes and contexts have the others, the latest first."""
        client.server.twist = broken(1)
        with pytest.raises(InferenceFailedError, match="boom") as caught:
            client.predict(version=Fallback(7, 8, 1))
        notes = caught.value.__notes__
        assert [note[:27] for note in notes] == ["Version 8 was asked before:", "Version 7 was asked before:"]
        assert all("ready there: 1, 2" in note for note in notes)
        contexts = []
        context = caught.value.__context__
        while isinstance(context, TritonError):
            contexts.append(type(context))
            context = context.__context__
        assert contexts == [ModelNotFoundError] * 2

    def test_the_deadline_is_one_for_all(self, client: Caller) -> None:
        """What the first version took, the second one lacks."""
        client.transport.script = [(0.6, Failure("INTERNAL", "boom")), (0.6, None)]
        with pytest.raises(DeadlineExceededError) as caught:
            client.predict(version=Fallback(2, 1), timeout=1)
        assert [request.timeout for request in client.transport.sent] == pytest.approx([1.0, 0.4])
        assert "boom" in caught.value.__notes__[0]

    def test_an_open_file_is_read_once(self, client: Caller) -> None:
        """The second version gets the picture that the first one failed on."""
        file = io.BytesIO()
        Image.fromarray(image(3)).save(file, "PNG")
        file.seek(0)
        client.server.twist = broken(2)
        assert client.predict(file, version=Fallback(2, 1))[0].index == (3 + 1) % 5
