"""How many examples a property is tried with."""

from hypothesis import settings


def examples(number: int) -> settings:
    """Return settings for *number* examples where a property usually has 100: the nightly profile has more of both."""
    return settings(max_examples=number * settings().max_examples // 100)
