"""Which version a call asks that names one version, none or a split."""

from typing import Any

import pytest

from tests.doubles.fake_triton import image
from tests.unit.sdk.routing.caller import Caller, caller
from triton_sdk import ConfigurationError, Fallback, ModelNotFoundError, Split


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
