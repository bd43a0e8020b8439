"""What an image's labels say: from which source it is, which models are in it, and of which kind it is."""

from collections.abc import Mapping

from scripts.image.commit import Revision

REVISION, MODELS, KIND = "org.opencontainers.image.revision", "triton-sdk.models", "triton-sdk.kind"
FULL = "full"
# The release of the agent in the image: such an image can be told at run time which versions it serves.
AGENT = "triton-sdk.agent"


def tag_of(labels: Mapping[str, str]) -> str | None:
    """Return the tag that says what is in an image, by its labels; None where it has none of ours.

    Every kind but NVIDIA's full image is named in it: they are different images of one revision and its models.
    """
    commit, models = labels.get(REVISION), labels.get(MODELS)
    if not commit or not models:
        return None
    kind = labels.get(KIND, FULL)
    tag = f"{Revision(commit=commit).short}-{models.removeprefix('sha256:')[:12]}"
    return tag if kind == FULL else f"{tag}-{kind}"
