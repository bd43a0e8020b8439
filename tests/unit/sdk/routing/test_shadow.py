"""What a call with a shadow sends behind the caller's answer, and what is reported of it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.doubles.fake_triton import FakeTriton, image
from tests.doubles.scripted import session
from tests.unit.sdk.routing.caller import Caller, broken, caller
from triton_sdk import (
    ClientClosedError,
    DeadlineExceededError,
    Fallback,
    InferenceFailedError,
    ModelNotFoundError,
    RetryPolicy,
    ServerOverloadedError,
    ServerUnavailableError,
    Shadow,
    ShadowReport,
    Split,
    TritonError,
)
from triton_sdk.telemetry import on_call


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
