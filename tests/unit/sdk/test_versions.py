"""Which version a key goes to. Pure functions: nothing is sent."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_sdk import ConfigurationError, Fallback, Shadow, ShadowReport, Split
from triton_sdk._flow.route import Route, route
from triton_sdk._keys import position
from triton_sdk.versions import Key

SPLIT = Split({1: 90, 2: 10})
KEYS = [f"user-{number}" for number in range(10_000)]

# Keys, their versions by SPLIT and by THREE. A change of these would send users of a running experiment elsewhere.
THREE = Split({1: 50, 2: 30, 5: 20})
PINNED: list[tuple[Key, int, int]] = [
    ("", 1, 1),
    ("alice", 1, 2),
    ("user-11", 2, 2),
    ("user-12", 1, 1),
    ("user-13", 2, 2),
    ("user-22", 2, 2),
    ("ü", 1, 1),
    (b"\x00\xff", 1, 1),
    (b"user-11", 2, 2),
    (7, 1, 5),
    (-1, 1, 1),
    (123456789, 1, 2),
    (2**64, 1, 5),
]


def report(_report: ShadowReport) -> None:
    """Take a report."""


def never() -> float:
    """Fail the test, for nothing was to be drawn."""
    raise AssertionError("a random number was drawn")


class TestSplit:
    @pytest.mark.parametrize("weights", [{1: 90, 2: 10}, {1: 1, 2: 1, 7: 2.5}, {3: 0.001, 4: 0.0001}, {5: 1}])
    def test_ten_thousand_keys_are_shared_out_by_weight(self, weights: dict[int, float]) -> None:
        """Each version's count is within 3 standard deviations of its share."""
        split = Split(weights)
        counts = Counter(split.choose(key) for key in KEYS)
        assert set(counts) == set(weights)
        for version, weight in weights.items():
            share = weight / sum(weights.values())
            sigma = math.sqrt(len(KEYS) * share * (1 - share))
            assert abs(counts[version] - len(KEYS) * share) <= 3 * sigma

    def test_the_scheme_is_pinned(self) -> None:
        """These keys went to these versions in the first release, and always will."""
        assert [(key, SPLIT.choose(key), THREE.choose(key)) for key, _, _ in PINNED] == PINNED

    def test_the_documented_scheme_is_the_one_in_use(self) -> None:
        """The formula of the documentation, written a second time with integers, gives the same versions."""

        def choose(key: str, weights: dict[int, int]) -> int:
            cost = {}
            for version, weight in weights.items():
                digest = blake2b(f"split:{version}:{key}".encode(), digest_size=8).hexdigest()
                cost[version] = -math.log((int(digest[:13], 16) + 0.5) / 2**52) / weight
            return min(cost, key=lambda version: cost[version])

        weights = {4: 2, 11: 5, 2: 3}
        assert [Split(weights).choose(key) for key in KEYS[:500]] == [choose(key, weights) for key in KEYS[:500]]

    @pytest.mark.parametrize("seed", ["0", "1"])
    def test_another_process_chooses_the_same(self, seed: str) -> None:
        """A process with another hash seed sends 1,000 keys of all kinds where this one does."""
        keys: list[Key] = [*KEYS[:800], *range(-50, 50), *(bytes([number, 255]) for number in range(100))]
        code = f"from triton_sdk import Split; print([{THREE!r}.choose(key) for key in {keys!r}])"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=True
        )
        assert done.stdout.strip() == str([THREE.choose(key) for key in keys])

    def test_a_number_and_its_text_are_one_key(self) -> None:
        """A service that keeps user ids as numbers and one that keeps them as text agree."""
        for number in (0, 7, -1, 2**70):
            text = str(number)
            assert len({SPLIT.choose(key) for key in (number, text, text.encode())}) == 1
            assert position("", number) == position("", text) == position("", text.encode())
        assert position("", np.int64(7)) == position("", 7)  # type: ignore[arg-type]
        assert position("", "ü") == position("", "ü".encode())
        assert position("", "\ud800") != position("", "\ud801")

    @pytest.mark.parametrize(
        ("before", "after", "grown"),
        [
            ({1: 90, 2: 10}, {1: 80, 2: 20}, {2}),
            ({1: 90, 2: 10}, {1: 0.9, 2: 0.1}, set()),
            ({1: 80, 2: 10, 3: 10}, {1: 60, 2: 20, 3: 20}, {2, 3}),
            ({1: 90, 2: 10}, {1: 90, 2: 10, 3: 25}, {3}),
            ({1: 45, 2: 45, 3: 10}, {2: 45, 3: 10}, {2, 3}),
        ],
    )
    def test_only_the_keys_that_must_move_do(
        self, before: dict[int, float], after: dict[int, float], grown: set[int]
    ) -> None:
        """Keys move only from versions whose share shrank to those whose share grew, and no more than the shares do."""
        old, new = Split(before), Split(after)
        moves = Counter((old.choose(key), new.choose(key)) for key in KEYS)
        moved = {way: count for way, count in moves.items() if way[0] != way[1]}
        assert {to for _, to in moved} <= grown
        assert not {source for source, _ in moved} & grown
        shares = [{v: weight / sum(w.values()) for v, weight in w.items()} for w in (before, after)]
        least = sum(max(0, shares[1][v] - shares[0].get(v, 0)) for v in after)
        sigma = math.sqrt(len(KEYS) * least * (1 - least))
        assert abs(sum(moved.values()) - len(KEYS) * least) <= 3 * sigma

    @given(
        weights=st.dictionaries(st.integers(1, 50), st.floats(0.01, 100), min_size=2, max_size=5),
        factor=st.floats(1, 50),
        key=st.text() | st.binary() | st.integers(),
    )
    def test_a_version_that_grows_takes_keys_and_gives_none(
        self, weights: dict[int, float], factor: float, key: Key
    ) -> None:
        """Whatever the weights are, a key stays or goes to the version whose weight grew."""
        grown = min(weights)
        before = Split(weights).choose(key)
        assert Split({**weights, grown: weights[grown] * factor}).choose(key) in (before, grown)

    def test_a_draw_cuts_the_line_by_weight(self) -> None:
        """Without a key, the random number's place on [0, 1) decides."""
        split = Split({2: 1, 1: 2, 9: 1})
        assert [split.draw(at) for at in (0, 0.499, 0.5, 0.749, 0.75, 0.999999)] == [1, 1, 2, 2, 9, 9]
        assert Split({1: 0.1, 2: 0.2, 3: 0.7}).draw(1 - 2**-53) == 3

    def test_equal_splits_are_equal(self) -> None:
        """The order in which the versions were given does not matter; the mapping may change afterwards."""
        weights = {2: 10, 1: 90}
        split = Split(weights)
        weights[2] = 50
        assert split == SPLIT
        assert hash(split) == hash(SPLIT)
        assert repr(split) == "Split({1: 90, 2: 10})"

    @pytest.mark.parametrize(
        ("weights", "words"),
        [
            ({}, "a weight for each version"),
            ([1, 2], "a weight for each version"),
            ({0: 1}, "0; a whole number from 1"),
            ({"1": 1}, "'1'; a whole number"),
            ({True: 1}, "True; a whole number"),
            ({1: 90, 2: 0}, "weight of version 2 is 0.*Leave a version out"),
            ({1: -1}, "-1"),
            ({1: math.nan}, "nan"),
            ({1: math.inf}, "inf"),
            ({1: 10**400}, "above 0"),
            ({1: "90"}, "'90'"),
            ({1: True}, "True"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, weights: Any, words: str) -> None:
        """The message says what was given and what was expected."""
        with pytest.raises(ConfigurationError, match=words):
            Split(weights)

    @pytest.mark.parametrize("key", [1.5, None, True, ["a"]])
    def test_a_key_of_another_kind_is_refused(self, key: Any) -> None:
        """A float's text is no stable name, and None is no key."""
        with pytest.raises(ConfigurationError, match=f"key is a {type(key).__name__}; text, bytes or a whole number"):
            SPLIT.choose(key)


class TestFallback:
    @pytest.mark.parametrize(
        "versions", [(), (1,), (1, 1), (None, 2, None), (2, 0), (2, "1"), (SPLIT, SPLIT), (1, True)]
    )
    def test_what_cannot_be_used_is_refused(self, versions: tuple[Any, ...]) -> None:
        """Two or more different versions are expected."""
        with pytest.raises(ConfigurationError, match="expected"):
            Fallback(*versions)

    def test_it_is_a_value(self) -> None:
        """Two of the same versions are one and the same, and show what they are."""
        assert Fallback(2, 1) == Fallback(2, 1) != Fallback(1, 2)
        assert hash(Fallback(2, None)) == hash(Fallback(2, None))
        assert repr(Fallback(SPLIT, 1, None)) == "Fallback(Split({1: 90, 2: 10}), 1, None)"


class TestShadow:
    @pytest.mark.parametrize(
        ("primary", "candidate", "fraction", "listener", "timeout"),
        [
            (0, 2, 0.1, report, 1),
            ("1", 2, 0.1, report, 1),
            (1, None, 0.1, report, 1),
            (1, 1, 0.1, report, 1),
            (1, 2, 1.1, report, 1),
            (1, 2, -0.1, report, 1),
            (1, 2, math.nan, report, 1),
            (1, 2, True, report, 1),
            (1, 2, 0.1, "print", 1),
            (1, 2, 0.1, report, 0),
        ],
    )
    def test_what_cannot_be_used_is_refused(
        self, primary: Any, candidate: Any, fraction: Any, listener: Any, timeout: float
    ) -> None:
        """Each value has its range, and a version is not its own candidate."""
        with pytest.raises(ConfigurationError, match="expected"):
            Shadow(primary, candidate, fraction, listener, timeout=timeout)

    def test_a_growing_fraction_keeps_its_keys(self) -> None:
        """About the fraction of the keys is mirrored, none at 0, all at 1, and no key is lost as it grows."""
        mirrored = [
            {key for key in KEYS if Shadow(1, 2, fraction, report).mirrors(key)} for fraction in (0, 0.1, 0.3, 1)
        ]
        assert all(smaller < larger for smaller, larger in itertools.pairwise(mirrored))
        assert len(mirrored[0]) == 0
        assert abs(len(mirrored[1]) - 1000) <= 3 * math.sqrt(10_000 * 0.1 * 0.9)
        assert len(mirrored[3]) == 10_000

    def test_who_is_mirrored_and_who_gets_a_version_are_independent(self) -> None:
        """Of the keys that a split sends to version 2, the same fraction is mirrored as of all."""
        second = [key for key in KEYS if Split({1: 50, 2: 50}).choose(key) == 2]
        mirrored = sum(Shadow(None, 2, 0.5, report).mirrors(key) for key in second)
        assert abs(mirrored - len(second) / 2) <= 3 * math.sqrt(len(second) / 4)


class TestRoute:
    @pytest.mark.parametrize(
        ("version", "key", "expected"),
        [
            (None, None, Route((None,))),
            (3, "any", Route((3,))),
            (np.int64(3), None, Route((3,))),
            (SPLIT, "user-11", Route((2,))),
            (SPLIT, "user-12", Route((1,))),
            (Fallback(2, 1, None), None, Route((2, 1, None))),
            (Fallback(SPLIT, 1), "user-11", Route((2, 1))),
            (Fallback(SPLIT, 1), "user-12", Route((1,))),
        ],
    )
    def test_a_call_is_sent_on_its_way(self, version: Any, key: Key | None, expected: Route) -> None:
        """Nothing is drawn where a key, or the version itself, decides."""
        assert route(version, key=key, uniform=never) == expected

    @pytest.mark.parametrize(("drawn", "version"), [(0.0, 1), (0.899, 1), (0.901, 2)])
    def test_without_a_key_a_split_draws(self, drawn: float, version: int) -> None:
        """The client's random numbers decide."""
        assert route(SPLIT, key=None, uniform=lambda: drawn) == Route((version,))

    @pytest.mark.parametrize(("drawn", "mirrored"), [(0.29, True), (0.31, False)])
    def test_without_a_key_a_shadow_draws(self, drawn: float, mirrored: bool) -> None:
        """A share of the calls is mirrored; all are answered by the primary."""
        shadow = Shadow(Fallback(2, 1), 3, 0.3, report)
        assert route(shadow, key=None, uniform=lambda: drawn) == Route((2, 1), shadow if mirrored else None)

    def test_a_key_decides_whether_a_call_is_mirrored(self) -> None:
        """What `mirrors` says is what happens."""
        shadow = Shadow(SPLIT, 3, 0.5, report)
        for key in KEYS[:100]:
            chosen = route(shadow, key=key, uniform=never)
            assert chosen == Route((SPLIT.choose(key),), shadow if shadow.mirrors(key) else None)

    @pytest.mark.parametrize("version", ["2", 0, -1, True, 1.0, {1: 90, 2: 10}, (1, 2)])
    def test_no_version_at_all_is_refused(self, version: Any) -> None:
        """The message says what can be given."""
        with pytest.raises(
            ConfigurationError, match="None, a Split, a Fallback, a Shadow or a TrafficPlan was expected"
        ):
            route(version, key=None, uniform=never)

    @pytest.mark.parametrize("make", [lambda: 2, lambda: None, lambda: Fallback(2, 1)])
    def test_a_bad_key_is_refused_even_where_none_is_needed(self, make: Callable[[], Any]) -> None:
        """So that a call does not begin to fail on the day that a split is turned on."""
        with pytest.raises(ConfigurationError, match="key is a float"):
            route(make(), key=1.5, uniform=never)  # type: ignore[arg-type]
