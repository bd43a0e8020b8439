"""What a user gives in the wrong form: one error of ours, at once, that says what was expected."""

import copy
import io
import os
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.doubles.blocking import Blocking
from tests.doubles.fake_triton import image
from tests.doubles.scripted import ScriptedTransport
from tests.properties import examples
from triton_sdk import (
    AsyncResNetClient,
    ClientConfig,
    ConfigurationError,
    InvalidImageError,
    InvalidRequestError,
    ResNetClient,
    Tls,
    labels,
)
from triton_sdk.config import Coalesce, RetryPolicy
from triton_sdk.images import to_pixels
from triton_sdk.local import LocalTriton
from triton_sdk.testing import ScriptedTransport as InMemory

URL = "triton:8001"
# As mypy would find these mistakes.
MEMORY: Any = InMemory
LOCAL: Any = LocalTriton
CLIENT: Any = ResNetClient


@pytest.mark.parametrize("kind", [ResNetClient, AsyncResNetClient])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tls": True}, r"tls is True; a Tls was expected, such as Tls\(\)"),
        ({"tls": "ca.pem"}, "tls is 'ca.pem'; a Tls was expected"),
        ({"tls": Tls}, "tls is the class Tls; a Tls was expected"),
        ({"retry": 3}, r"retry is 3; a RetryPolicy was expected, such as RetryPolicy\(max_attempts=3\)"),
        ({"retry": None}, "retry is None; a RetryPolicy"),
        ({"hooks": 5}, "hooks is 5; a list of functions was expected"),
        ({"hooks": print}, r"hooks is one function; a list of functions was expected, such as hooks=\[on_call\(f\)\]"),
        ({"hooks": [print, "log"]}, r"hooks\[1\] is 'log'; a function was expected"),
        ({"labels": "labels.txt"}, r"give labels=triton_sdk\.labels\.read\(PATH\)"),
        ({"labels": Path("labels.txt")}, "a list of names was expected"),
        ({"labels": {0: "cat"}}, "labels is of type dict; a list of names"),
        ({"labels": 1000}, "labels is of type int; a list of names"),
        ({"labels": ["cat", 5]}, "Label 1 .* is 5; a text was expected"),
        ({"metadata": "authorization"}, "metadata is of type str; pairs of texts"),
        ({"metadata": 5}, "metadata is of type int; pairs of texts"),
        ({"metadata": ["authorization"]}, "Entry 0 of metadata .* is of type str; pairs of texts"),
        ({"metadata": [("a", "b", "c")]}, "Entry 0 of metadata .* pairs of texts"),
        ({"metadata": {"authorization": b"s3cret"}}, "Entry 0 of metadata .* holds str, bytes"),
        ({"metadata": {"x-tries": 3}}, "Entry 0 of metadata .* holds str, int"),
        ({"timeout": 1e10}, r"timeout is 10000000000\.0; a number of seconds above 0 and up to 31,536,000"),
        ({"timeout": float("inf")}, "timeout is inf; a number of seconds"),
        ({"timeout": "5"}, "timeout is '5'; a number of seconds"),
        ({"timeout": None}, "timeout is None; a number of seconds"),
        ({"model": 5}, "model is 5; the name of a served model"),
        ({"model": None}, "model is None; the name of a served model"),
        ({"decode": True}, "decode is True; 'exact' or 'fast' was expected"),
        ({"model": np.zeros(2)}, r"model is array\(\[0\., 0\.\]\); the name of a served model"),
        ({"decode": np.zeros(2)}, r"decode is array\(\[0\., 0\.\]\); 'exact' or 'fast' was expected"),
        ({"transport": 5}, r"transport is of type int; what has send\(\) and close\(\)"),
        ({"transport": ScriptedTransport}, "transport is the class ScriptedTransport; what has send"),
    ],
)
def test_a_setting_of_another_kind_is_told(
    kind: type[ResNetClient | AsyncResNetClient], settings: dict[str, Any], words: str
) -> None:
    """The error names the setting and what was expected, before anything is sent, and shows no secret."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        kind(URL, **settings)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", [8001, None, 8001.5, b"triton:8001", {"triton": 8001}, True])
@pytest.mark.parametrize("make", [lambda url: ClientConfig(url=url), ResNetClient, AsyncResNetClient])
def test_an_address_that_is_no_text_is_told(make: Callable[[Any], object], url: object) -> None:
    """A number, a mapping or bytes are no address, and the error shows one that is."""
    with pytest.raises(ConfigurationError, match=r"address is .*; HOST:PORT .* such as localhost:8001"):
        make(url)


@pytest.mark.parametrize("url", [[8001], ["a:1", None], ("a", 8001)])
def test_addresses_that_are_no_texts_are_told(url: Any) -> None:
    """Among several, the one that is no text is shown."""
    with pytest.raises(ConfigurationError, match=r"One of the server's addresses is (8001|None)"):
        ClientConfig(url=url)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RetryPolicy(burst=1.5), r"burst is 1\.5; a whole number"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(max_attempts="3"), "max_attempts is '3'; a whole number"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(base=None), "base is None; a number"),  # type: ignore[arg-type]
        (lambda: Tls(ca=5), "ca of Tls is of type int; the path of a PEM file"),  # type: ignore[arg-type]
        (lambda: Tls(ca=""), "ca of Tls is of type str; the path of a PEM file"),
        (lambda: Tls(ca="-----BEGIN CERTIFICATE-----"), "ca of Tls is the content of a file; the path of a PEM file"),
        (lambda: Tls(server_name=5), "server_name of Tls is 5; the name"),  # type: ignore[arg-type]
        (lambda: AsyncResNetClient(URL, coalesce=True), "coalesce is True; a Coalesce"),  # type: ignore[arg-type]
        (lambda: AsyncResNetClient(URL, coalesce=Coalesce), "coalesce is the class Coalesce"),  # type: ignore[arg-type]
        (lambda: ResNetClient.from_config("a:1"), "config is 'a:1'; a ClientConfig"),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_another_kind_is_told(make: Callable[[], object], words: str) -> None:
    """So it is for the settings within settings."""
    with pytest.raises(ConfigurationError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MEMORY("goldfish"), "answers is of type str; a list with an answer for each image, such as"),
        (lambda: MEMORY({"goldfish": 0.9}), "answers is of type dict; a list with an answer for each image"),
        (lambda: MEMORY([0.9, 0.1]), "An answer is of type float; a dict of probabilities by name, or a list of all"),
        (lambda: MEMORY([None]), "An answer is of type NoneType; a dict"),
        (lambda: MEMORY(versions=1), r"versions is of type int; a list of numbers, such as \(1, 2\), was expected"),
        (lambda: MEMORY(labels="ab"), "labels is 'ab'; a list of names was expected"),
        (lambda: MEMORY(contract={"model": "m"}), "contract is .*; a ModelContract was expected"),
        (lambda: MEMORY().fail("slow", times=0), "times is 0; a whole number from 1"),
        (lambda: MEMORY().fail("slow", times=1.5), r"times is 1\.5; a whole number from 1"),
        (lambda: CLIENT.from_env(URL), "environ is 'triton:8001'; a mapping of variables was expected"),
        (lambda: CLIENT.from_env(None), "environ is None; a mapping of variables was expected"),
        (lambda: LOCAL(None), "repository is of type NoneType; the path of the folder that holds the models"),
        (lambda: LOCAL(""), "repository is of type str; the path of the folder"),
        (lambda: LOCAL("models", http_port="8000"), "http_port is '8000'; a whole number from 0"),
        (lambda: LOCAL("models", metrics_port=2.5), r"metrics_port is 2\.5; a whole number from 0"),
        (lambda: LOCAL("models", args="--log-verbose=1"), "args is of type str; a list of arguments"),
        (lambda: LOCAL("models", start_timeout="1m"), "start_timeout is '1m'; a number of seconds"),
    ],
)
def test_what_the_servers_for_tests_cannot_use_is_told(make: Callable[[], object], words: str) -> None:
    """A single answer in the place of a list was once an answer of eight probabilities, and a text many letters."""
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_what_a_function_answers_is_checked() -> None:
    """A function that forgets its return is the test's mistake, and named as one."""
    answer: Any = lambda _pixels, _version: None  # noqa: E731
    wanted = pytest.raises(ConfigurationError, match="An answer is of type NoneType")
    with ResNetClient("s:1", transport=InMemory(answer)) as client, wanted:
        client.predict(image(1))


@pytest.mark.parametrize("batch", [Image.new("RGB", (4, 4)), (x for x in "ab"), 5, None, "a.jpg", [1, 2]])
def test_what_is_no_tensor_is_told_what_the_model_takes(batch: Any) -> None:
    """An image of Pillow's has a shape and no length, which was once Python's to tell."""
    wanted = pytest.raises(InvalidRequestError, match=r"not a numpy array: .* takes image UINT8 \(n, 224, 224, 3\)")
    with ResNetClient("s:1", transport=InMemory()) as client, wanted:
        client.infer(batch)


@pytest.mark.parametrize("threshold", [50, -0.1, "0.5", None, float("nan"), True])
def test_a_threshold_is_a_probability(threshold: Any) -> None:
    """50 is no half: nothing would ever reach it."""
    with ResNetClient("s:1", transport=InMemory()) as client:
        found = client.predict(image(1), top_k=2)
    with pytest.raises(ConfigurationError, match=r"threshold is .*; a number from 0 to 1 was expected"):
        found.above(threshold)
    assert [score.index for score in found.above(1)] == [0]


@pytest.mark.parametrize("name", ["a StringIO", "a text file"])
def test_a_file_that_is_open_as_text_says_how_to_open_it(name: str, tmp_path: Path) -> None:
    """Python's own words are about items of a sequence."""
    (tmp_path / "a.jpg").write_text("text", encoding="utf-8")
    file: Any = io.StringIO("text") if name == "a StringIO" else (tmp_path / "a.jpg").open(encoding="utf-8")
    with file, pytest.raises(InvalidImageError, match=r"it is open as text; open it with open\(PATH, 'rb'\)"):
        to_pixels(file, resize=8, height=8, width=8)


@pytest.mark.parametrize("client", [ResNetClient, Blocking])
def test_of_a_dict_of_images_its_values_are_meant(client: Any) -> None:
    """Its keys were once taken for paths; the advice works."""
    images = {"first": image(1), "second": image(2)}
    with client("s:1", transport=InMemory()) as asked:
        with pytest.raises(ConfigurationError, match=r"images is of type dict, .* Give its values\(\)"):
            asked.predict_many(images)
        assert len(asked.predict_many(images.values())) == 2


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"x-tries": 5}, "Entry 0 of metadata .* holds str, int"),
        ({"Bad Key": "x"}, "The metadata key 'Bad Key' cannot be sent"),
        ({"authorization": "Bearer s3cret\n"}, "The value of the metadata entry 'authorization' cannot be sent"),
    ],
)
def test_what_a_hook_adds_is_checked_as_what_a_user_gives(entries: Any, words: str) -> None:
    """gRPC would say so in words of its own, and for some the server was blamed."""
    transport = InMemory()
    hook: Any = lambda call: call.metadata.update(entries)  # noqa: E731
    wanted = pytest.raises(ConfigurationError, match=words)
    with ResNetClient("s:1", transport=transport, hooks=[hook]) as client, wanted as caught:
        client.predict(image(1))
    assert "s3cret" not in str(caught.value)
    assert transport.requests == []


@pytest.mark.parametrize("kind", ["a named pipe", "a device"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    """A pipe once held the making of a client up for ever, and a device filled the memory."""
    path = tmp_path / "file"
    os.mkfifo(path) if kind == "a named pipe" else path.symlink_to("/dev/zero")
    makes: list[Callable[[], object]] = [
        lambda: ResNetClient(URL, tls=Tls(ca=path)),
        lambda: ResNetClient(URL, tls=Tls(certificate=path, key=path)),
        lambda: labels.read(path),
        lambda: to_pixels(path, resize=8, height=8, width=8),
    ]
    for make in makes:
        with pytest.raises(ValueError, match=f"it is {kind}, but a file was expected"):
            make()
    with ResNetClient("s:1", transport=InMemory(), traffic=path) as client:
        assert client.predict(image(1)).model_version == 1


def test_a_dict_of_metadata_is_taken() -> None:
    """A mapping says the same as its pairs."""
    config = ClientConfig(url=URL, metadata={"x-tenant": "blue", "x-kind": "test"})
    assert config.metadata == (("x-tenant", "blue"), ("x-kind", "test"))
    assert config == ClientConfig(url=URL, metadata=config.metadata)


@pytest.fixture(params=[ResNetClient, Blocking])
def client(request: pytest.FixtureRequest) -> Any:
    """Return a client of threads, and one of an event loop."""
    with request.param(URL, model="clf", transport=ScriptedTransport()) as client:
        yield client


@pytest.mark.parametrize("call", ["predict_many", "predict_stream"])
@pytest.mark.parametrize(
    "one",
    [
        "photo.jpg",
        Path("photo.jpg"),
        b"\xff\xd8\xff",
        bytearray(b"\xff\xd8\xff"),
        io.BytesIO(b"\xff\xd8\xff"),
        Image.new("RGB", (9, 9)),
        np.zeros((9, 9, 3), np.uint8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_image_where_several_are_expected_is_told(client: Any, call: str, one: object) -> None:
    """A path is not walked letter by letter, nor bytes, a file or an image row by row."""
    with pytest.raises(ConfigurationError, match=r"images is one image \(\w+\); a list .* \[image\], or call predict"):
        getattr(client, call)(one)
    assert client._session.contract is None


@pytest.mark.parametrize("images", [None, 5, print])
def test_what_is_no_iterable_is_told(client: Any, images: Any) -> None:
    """The error is ours and says that a list was expected."""
    with pytest.raises(ConfigurationError, match="a list of images was expected"):
        client.predict_many(images)


def test_an_array_of_images_is_several(client: Any) -> None:
    """Four dimensions are images one after the other."""
    found = client.predict_many(np.stack([image(0), image(1)]), version=1)
    assert [prediction.index for prediction in found] == [1, 2]


def test_an_asynchronous_iterable_belongs_to_the_other_client() -> None:
    """The client for threads names the one that takes it."""

    async def source() -> AsyncIterator[Any]:
        yield image(0)

    with (
        ResNetClient(URL, transport=ScriptedTransport()) as client,
        pytest.raises(ConfigurationError, match="AsyncResNetClient takes"),
    ):
        client.predict_many(source())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images", [[image(0), image(1)], (image(0),), iter([image(0)]), [], np.zeros((2, 9, 9, 3), "u1")]
)
def test_several_images_where_one_is_expected_name_the_other_call(client: Any, images: Any) -> None:
    """Who gives predict a list learns of predict_many, which takes it."""
    with pytest.raises(InvalidImageError, match=r"predict_many\(\)"):
        client.predict(images)


@pytest.mark.parametrize("kind", [ResNetClient, AsyncResNetClient])
@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_stays_in_its_process(
    kind: type[ResNetClient | AsyncResNetClient], act: Callable[[object], object]
) -> None:
    """Pickling and copying say to make one in each process; the advice to pickle the configuration works."""
    client = kind(URL, transport=ScriptedTransport())
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__} cannot be pickled .*Make one in each process"):
        act(client)
    config = pickle.loads(pickle.dumps(ClientConfig(url=URL, retry=RetryPolicy(burst=3), tls=Tls())))
    assert "triton:8001" in repr(kind.from_config(config))


odd = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3) | st.dictionaries(st.text(max_size=3), st.integers())
    | st.sampled_from([object(), print, int, ClientConfig, np.zeros(2), np.float32(1), Path("x")])
)  # fmt: skip


@examples(60)
@given(st.sampled_from(["url", *ClientConfig.__annotations__, "labels", "hooks", "transport"]), odd)
def test_no_setting_breaks_in_words_of_python(name: str, value: object) -> None:
    """Whatever a setting is given, it is taken, or refused by a ConfigurationError."""
    settings: dict[str, Any] = {"url": URL, "transport": ScriptedTransport(), name: value}
    with suppress(ConfigurationError):
        ResNetClient(**settings)


def test_a_picture_of_several_says_so() -> None:
    """The function beneath says it too."""
    with pytest.raises(InvalidImageError, match="one image at a time, and several by predict_many"):
        to_pixels(np.zeros((2, 9, 9, 3), np.uint8), resize=8, height=8, width=8)
