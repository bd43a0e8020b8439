"""What images in a registry are called."""

import pytest

from scripts.host.errors import TaskFailure
from scripts.registry.reference import Reference, is_image
from tests.doubles.kubernetes import DIGEST


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (f"h:5000/a/b@{DIGEST}", ("h:5000/a/b", None, DIGEST)),
        ("h.example/a:1.2", ("h.example/a", "1.2", None)),
        (f"triton:1@{DIGEST}", ("triton", "1", DIGEST)),
    ],
)
def test_a_reference_is_taken_apart(reference: str, expected: tuple[str, str | None, str | None]) -> None:
    """Into address, tag and digest; and put together again it is the same."""
    parsed = Reference.parse(reference)
    assert (parsed.repository, parsed.tag, parsed.digest) == expected
    assert str(parsed) == reference


@pytest.mark.parametrize("reference", ["triton", "h/a@sha256:short", "-x:1", "a b:1", "", "h/a:1,gpu.enabled=false"])
def test_what_is_no_reference_is_refused(reference: str) -> None:
    """An image without tag and digest, or with what Helm would take for more values."""
    with pytest.raises(TaskFailure, match="--image takes"):
        Reference.parse(reference)


def test_a_reference_tells_host_name_and_each_half() -> None:
    """A host has a dot or a port; by its tag or by its digest alone it is the same image."""
    image = Reference.parse(f"h:5000/a/b:1@{DIGEST}")
    assert (image.host, image.name) == ("h:5000", "a/b")
    assert (str(image.by_tag), str(image.by_digest)) == ("h:5000/a/b:1", f"h:5000/a/b@{DIGEST}")
    plain = Reference.parse("library/triton:1")
    assert (plain.host, plain.name) == ("", "library/triton")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *((one, True) for one in ("triton", "triton-infer:1", "HOST:5000/a/b__c:v1", "nvcr.io/nvidia/x:26.08-py3")),
        *((one, True) for one in ("a@sha256:0f", "a:1@sha256:0f", "localhost/x", "a.b/c")),
        *(
            (one, False)
            for one in ("", "A:1", "a b", ":1", "a:", "a:b:c", "a//b", "/a", "a/", "-a", "a:-1", "https://a/b")
        ),
    ],
)
def test_an_image_s_name_is_what_docker_takes(text: str, is_one: bool) -> None:
    """As Docker's own grammar has it: small letters, a tag of up to 128 characters, a digest."""
    assert is_image(text) == is_one
