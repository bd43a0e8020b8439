"""What a call with a split, a fallback or a shadow sends, and in which order. On a clock that stands still."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from PIL import Image

from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.doubles.scripted import ScriptedTransport, session
from triton_sdk import (
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    Fallback,
    ImageLike,
    InferenceFailedError,
    InvalidImageError,
    ModelNotFoundError,
    Prediction,
    RetryPolicy,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    Shadow,
    ShadowReport,
    Split,
    TritonError,
    Version,
)
from triton_sdk._flow import routing
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow
from triton_sdk._wire.drive import run
from triton_sdk.telemetry import on_call
from triton_sdk.versions import Key

LOST = Failure("UNAVAILABLE", "Socket closed")


@attrs.define
class Caller:
    """A client on a clock that stands still, whose background work waits until it is told to go on.

    Attributes:
        transport: To a server in memory.
        session: What the calls share.
        background: What was begun and not run yet.
        room: How much may be in the background.
    """

    transport: ScriptedTransport
    session: Session
    background: list[Flow[object]] = attrs.field(factory=list)
    room: int = 100

    @property
    def server(self) -> FakeTriton:
        """What answers."""
        return self.transport.server

    @property
    def inferred(self) -> list[str]:
        """The versions whose inference was asked for, in order."""
        return [version for version, _ in self.server.batches()]

    def predict(
        self, *images: ImageLike, version: Version, key: Key | None = None, timeout: float = 30, top: int = 2
    ) -> list[Prediction]:
        """Predict, and leave what goes to the background there."""
        flow = routing.predict(
            self.session,
            images or (image(0),),
            version=version,
            key=key,
            top=top,
            deadline=self.session.clock() + timeout,
            first=0,
        )
        return run(flow, self.transport, sleep=self.transport.clock.sleep, spawn=self.spawn)

    def spawn(self, flow: Flow[object]) -> bool:
        """Keep *flow* for later, if there is room."""
        if len(self.background) >= self.room:
            return False
        self.background.append(flow)
        return True

    def go_on(self) -> None:
        """Run what is in the background."""
        while self.background:
            run(self.background.pop(0), self.transport, sleep=self.transport.clock.sleep, spawn=self.spawn)

    def warm(self, *versions: int) -> None:
        """Make the client know the contract, the labels and *versions*; what was sent for it is forgotten."""
        for version in versions:
            self.predict(version=version)
        self.forget()

    def forget(self) -> None:
        """Forget what was sent."""
        self.transport.sent.clear()
        self.server.asked.clear()


def caller(server: FakeTriton | None = None, uniform: Callable[[], float] = lambda: 0.5) -> Caller:
    """Make a client of *server*."""
    transport = ScriptedTransport(server=server or FakeTriton())
    return Caller(transport, session(transport, uniform=uniform))


@pytest.fixture
def client() -> Caller:
    """Return a client of a server with versions 1 and 2, both known."""
    made = caller()
    made.warm(1, 2)
    return made


def broken(version: int, code: str = "INTERNAL", details: str = "ValueError: boom") -> Callable[[str, Any], None]:
    """Return a twist that makes one version fail."""

    def twist(method: str, message: Any) -> None:
        if method == "ModelInfer" and message.model_version == str(version):
            raise Refused(code, details)

    return twist


class TestPlain:
    @pytest.mark.parametrize(("version", "asked", "answers"), [(None, "", 2), (1, "1", 1)])
    def test_a_version_or_none_goes_to_the_server_as_it_is(
        self, client: Caller, version: int | None, asked: str, answers: int
    ) -> None:
        """One request; the prediction has the version that the server says."""
        (prediction,) = client.predict(version=version)
        assert prediction.model_version == answers
        assert client.inferred == [asked]

    def test_what_is_no_version_is_refused_before_anything_is_sent(self) -> None:
        """The first call too sends nothing."""
        client = caller()
        wrong: Any = {1: 90, 2: 10}
        with pytest.raises(ConfigurationError, match="Split"):
            client.predict(version=wrong)
        assert client.transport.sent == []


class TestSplit:
    def test_a_key_always_gets_its_version(self, client: Caller) -> None:
        """The version that `choose` names is asked, and answers, for one image and for many."""
        split = Split({1: 50, 2: 50})
        for key in ("user-1", "user-2", 7, b"\xff", "user-3", "user-4"):
            client.forget()
            predictions = client.predict(*[image(1)] * 3, version=split, key=key)
            assert {prediction.model_version for prediction in predictions} == {split.choose(key)}
            assert client.inferred == [str(split.choose(key))]

    def test_without_a_key_the_clients_random_numbers_decide(self) -> None:
        """Each call draws once."""
        drawn = iter([0.1, 0.95, 0.89])
        client = caller()
        client.warm(1, 2)
        client.session.uniform = lambda: next(drawn)
        answers = [client.predict(version=Split({1: 90, 2: 10}))[0].model_version for _ in range(3)]
        assert answers == [1, 2, 1]

    def test_a_split_does_not_hide_a_missing_version(self, client: Caller) -> None:
        """An experiment that lost a version says so; a Fallback around it is what goes on."""
        with pytest.raises(ModelNotFoundError, match="1, 2"):
            client.predict(version=Split({7: 1}), key="any")
        (prediction,) = client.predict(version=Fallback(Split({7: 1}), 1), key="any")
        assert prediction.model_version == 1


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


class TestShadow:
    @pytest.fixture
    def reports(self) -> list[ShadowReport]:
        """Return a list for reports."""
        return []

    @pytest.fixture
    def shadow(self, reports: list[ShadowReport]) -> Shadow:
        """Return a shadow of all calls to version 1 by version 2."""
        return Shadow(1, 2, 1.0, reports.append)

    def test_the_caller_gets_the_primary_before_the_candidate_is_asked(
        self, client: Caller, shadow: Shadow, reports: list[ShadowReport]
    ) -> None:
        """The call sends what it would without a shadow; the candidate's request follows behind it."""
        plain = client.predict(version=1)
        client.forget()
        assert client.predict(version=shadow) == plain
        assert client.inferred == ["1"]
        assert reports == []
        client.go_on()
        assert client.inferred == ["1", "2"]
        assert len(reports) == 1

    def test_the_report_has_both_answers(self, client: Caller, shadow: Shadow, reports: list[ShadowReport]) -> None:
        """The difference is the largest of all classes, and each latency that of its own request."""
        client.transport.script = [(0.3, None), (0.7, None)]
        (prediction,) = client.predict(image(0), version=shadow, key="user-1")
        client.go_on()
        (report,) = reports
        assert report.primary == prediction
        assert report.candidate is not None
        assert (report.primary.model_version, report.candidate.model_version) == (1, 2)
        assert (report.primary.index, report.candidate.index, len(report.candidate.top)) == (1, 2, 2)
        assert report.same_top1 is False
        assert report.largest_difference == pytest.approx(0.5)
        assert report.primary_latency_s == pytest.approx(0.3)
        assert report.candidate_latency_s == pytest.approx(0.7)
        assert (report.error, report.key) == (None, "user-1")

    def test_agreement_is_reported(self, reports: list[ShadowReport]) -> None:
        """Version 6 gives what version 1 gives."""
        client = caller(FakeTriton(versions=(1, 6)))
        client.warm(1, 6)
        client.predict(version=Shadow(1, 6, 1.0, reports.append))
        client.go_on()
        assert [(report.same_top1, report.largest_difference) for report in reports] == [(True, 0.0)]

    def test_each_image_of_many_has_its_report(
        self, client: Caller, shadow: Shadow, reports: list[ShadowReport]
    ) -> None:
        """They come in the order of the images."""
        predictions = client.predict(*(image(value) for value in range(6)), version=shadow)
        client.go_on()
        assert [report.primary for report in reports] == predictions
        assert [report.candidate.index for report in reports if report.candidate] == [2, 3, 4, 0, 1, 2]

    @pytest.mark.parametrize(
        ("twist", "error"),
        [
            (broken(2), InferenceFailedError),
            (broken(2, "UNAVAILABLE", "Exceeds maximum queue size"), ServerOverloadedError),
            (broken(2, "UNAVAILABLE", "version 2 is not at ready state"), ServerUnavailableError),
            (broken(2, "NOT_FOUND", "version 2 is not found"), ModelNotFoundError),
        ],
    )
    def test_a_broken_candidate_changes_nothing_for_the_caller(
        self,
        client: Caller,
        shadow: Shadow,
        reports: list[ShadowReport],
        twist: Callable[[str, Any], None],
        error: type[TritonError],
    ) -> None:
        """The call is answered as ever; the error is in the report, after one attempt."""
        plain = client.predict(version=1)
        client.forget()
        client.server.twist = twist
        begin = client.session.clock()
        assert client.predict(version=shadow) == plain
        assert (client.transport.methods, client.session.clock()) == (["ModelInfer"], begin)
        client.go_on()
        assert client.inferred == ["1", "2"]
        (report,) = reports
        assert type(report.error) is error
        assert (report.primary, report.candidate) == (plain[0], None)
        assert (report.same_top1, report.largest_difference) == (None, None)

    def test_a_missing_candidate_changes_nothing_for_the_caller(
        self, client: Caller, reports: list[ShadowReport]
    ) -> None:
        """It is reported each time, and takes part as soon as it is there."""
        shadow = Shadow(1, 7, 1.0, reports.append)
        for _ in range(2):
            client.forget()
            client.predict(version=shadow)
            assert client.transport.methods == ["ModelInfer"]
            client.go_on()
        assert [type(report.error) for report in reports] == [ModelNotFoundError] * 2
        client.server.versions = (1, 2, 7)
        client.predict(version=shadow)
        client.go_on()
        assert reports[2].candidate is not None
        assert reports[2].candidate.model_version == 7

    def test_a_slow_candidate_has_its_own_time(self, client: Caller, reports: list[ShadowReport]) -> None:
        """The caller's answer is there at once; the candidate is given up after the shadow's timeout."""
        client.transport.script = [(0.1, None), (60, None)]
        begin = client.session.clock()
        client.predict(version=Shadow(1, 2, 1.0, reports.append, timeout=0.5), timeout=0.2)
        assert client.session.clock() - begin == pytest.approx(0.1)
        client.go_on()
        assert [request.timeout for request in client.transport.sent] == pytest.approx([0.2, 0.5])
        assert isinstance(reports[0].error, DeadlineExceededError)
        assert reports[0].candidate_latency_s == pytest.approx(0.5)

    def test_the_callers_retries_are_theirs(self, reports: list[ShadowReport]) -> None:
        """A hundred candidates that cannot be reached leave the store of retries full."""
        client = caller()
        client.session = session(client.transport, retry=RetryPolicy(budget=0, burst=2))
        client.warm(1, 2)
        client.server.twist = broken(2, "UNAVAILABLE", "not at ready state")
        for _ in range(100):
            client.predict(version=Shadow(1, 2, 1.0, reports.append))
            client.go_on()
        assert client.inferred == ["1", "2"] * 100
        assert [client.session.budget.spend() for _ in range(3)] == [True, True, False]

    def test_mirrored_requests_earn_no_retries(self, reports: list[ShadowReport]) -> None:
        """Nor do they add to the store, which is in proportion to the calls."""
        client = caller()
        client.session = session(client.transport, retry=RetryPolicy(budget=0.5, burst=10))
        client.warm(1, 2)
        while client.session.budget.spend():
            pass
        for _ in range(4):
            client.predict(version=Shadow(1, 2, 1.0, reports.append))
            client.go_on()
        assert [client.session.budget.spend() for _ in range(3)] == [True, True, False]

    def test_hooks_are_told_of_the_callers_calls_alone(self, client: Caller, shadow: Shadow) -> None:
        """A broken candidate does not count among the errors of the service that is watched."""
        told: list[int | None] = []
        client.session.hooks = [on_call(lambda report: told.append(report.model_version))]
        client.server.twist = broken(2)
        client.predict(version=shadow)
        client.go_on()
        assert told == [1]

    def test_too_much_in_the_background_is_dropped(
        self, client: Caller, shadow: Shadow, reports: list[ShadowReport]
    ) -> None:
        """The caller is answered; the candidate is not asked."""
        client.room = 0
        assert client.predict(version=shadow)[0].model_version == 1
        client.go_on()
        assert (client.inferred, reports) == (["1"], [])

    def test_nobody_is_mirrored_where_the_primary_fails(self, client: Caller, shadow: Shadow) -> None:
        """The caller gets its error, and the candidate nothing to compare with."""
        client.server.twist = broken(1)
        with pytest.raises(InferenceFailedError):
            client.predict(version=shadow)
        assert client.background == []

    def test_a_report_function_that_raises_is_logged(self, client: Caller, caplog: pytest.LogCaptureFixture) -> None:
        """The other reports still come, and nobody is hurt."""
        seen: list[int] = []

        def report(found: ShadowReport) -> None:
            seen.append(found.primary.index)
            raise ValueError("a bug of the user's")

        client.predict(image(0), image(1), version=Shadow(1, 2, 1.0, report))
        with caplog.at_level(logging.ERROR, logger="triton_sdk"):
            client.go_on()
        assert seen == [1, 2]
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a bug of the user's"] * 2

    def test_a_share_of_the_calls_is_mirrored(self, client: Caller, reports: list[ShadowReport]) -> None:
        """With a key, those that `mirrors` names; without one, by the client's random numbers."""
        shadow = Shadow(1, 2, 0.5, reports.append)
        for key in range(40):
            client.predict(version=shadow, key=key)
        client.go_on()
        assert [report.key for report in reports] == [key for key in range(40) if shadow.mirrors(key)]
        assert 5 < len(reports) < 35
        client.session.uniform = iter([0.4, 0.6]).__next__
        for _ in range(2):
            client.predict(version=shadow)
        assert len(client.background) == 1

    def test_the_primary_may_be_a_split_or_a_fallback(self, client: Caller, reports: list[ShadowReport]) -> None:
        """Whoever answers the caller is the one to compare with."""
        client.server.versions = (1, 2, 3)
        client.warm(3)
        client.predict(version=Shadow(Fallback(7, 1), 3, 1.0, reports.append))
        client.predict(version=Shadow(Split({2: 1}), 3, 1.0, reports.append), key="any")
        client.go_on()
        assert [report.primary.model_version for report in reports] == [1, 2]

    def test_a_version_is_not_compared_with_itself(self, client: Caller) -> None:
        """Where the server's choice is the candidate, nothing is mirrored."""
        client.predict(version=Shadow(None, 2, 1.0, print))
        assert client.background == []

    def test_nothing_is_reported_when_the_client_closes(
        self, client: Caller, shadow: Shadow, reports: list[ShadowReport]
    ) -> None:
        """It says nothing about the candidate."""
        client.predict(version=shadow)

        def closed(_method: str, _message: Any) -> None:
            raise ClientClosedError("closed")

        client.server.twist = closed
        client.go_on()
        assert reports == []


class TestShadowImages:
    """Version 1 resizes to 8, which keeps a picture's edge; version 2 to 16, which crops it away."""

    @pytest.fixture
    def client(self) -> Caller:
        """Return a client of a server whose versions differ in their resize."""
        made = caller(FakeTriton(parameters={"image.resize": "8", "image.resize.2": "16"}))
        made.warm(1, 2)
        return made

    def framed(self) -> Any:
        """Return a black picture with a white frame, uint8 ``(16, 16, 3)``."""
        picture = np.full((16, 16, 3), 255, np.uint8)
        picture[4:12, 4:12] = 0
        return picture

    def test_the_candidate_gets_its_own_pixels(self, client: Caller) -> None:
        """Each version's tensor is as if it had been asked alone."""
        client.predict(self.framed(), version=Shadow(1, 2, 1.0, print))
        client.go_on()
        assert [(version, tensor.max()) for version, tensor in client.server.batches()] == [("1", 255), ("2", 0)]

    def test_a_candidate_that_is_new_brings_its_own_resize(self, client: Caller) -> None:
        """The first time the contract is read for it, in the background; from then on it is known."""
        client.server.versions = (1, 2, 3)
        client.server.parameters["image.resize.3"] = "16"
        for times in (1, 0):
            client.forget()
            client.predict(self.framed(), version=Shadow(1, 3, 1.0, print))
            assert client.server.count("ModelConfig") == 0
            client.go_on()
            assert client.server.count("ModelConfig") == times
            assert [(version, tensor.max()) for version, tensor in client.server.batches()] == [("1", 255), ("3", 0)]

    def test_what_the_caller_does_afterwards_does_not_matter(self, client: Caller, tmp_path: Path) -> None:
        """An array that is written into, a picture that is closed and a file that is deleted are compared as sent."""
        path = tmp_path / "picture.png"
        Image.fromarray(self.framed()).save(path)
        opened = Image.open(path)
        array = self.framed()
        buffer = bytearray(path.read_bytes())
        client.predict(path, opened, array, buffer, version=Shadow(1, 2, 1.0, print))
        path.unlink()
        opened.close()
        array[:] = 255
        buffer[:] = b"gone"
        client.go_on()
        candidates = [tensor for version, tensor in client.server.batches() if version == "2"]
        assert [(len(tensor), tensor.max()) for tensor in candidates] == [(4, 0)]

    def test_images_that_are_gone_are_not_compared(self, client: Caller, tmp_path: Path) -> None:
        """Where a file vanishes during the call, the caller is answered all the same."""
        path = tmp_path / "picture.png"
        Image.fromarray(self.framed()).save(path)
        client.server.twist = lambda _method, _message: path.unlink()
        (prediction,) = client.predict(path, version=Shadow(1, 2, 1.0, print))
        assert prediction.model_version == 1
        assert client.background == []
