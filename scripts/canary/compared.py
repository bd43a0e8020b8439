"""What `invoke compare` has found of the same two versions, as the bound for how many answers may change."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import validators

from scripts.canary.settings import Settings
from scripts.host.errors import TaskFailure

# A comparison lists some dozens of pictures at most.
_LARGEST = 2**24
_IS_SHARE = validators.and_(validators.ge(0), validators.le(1))
_IS_WHOLE = validators.instance_of(int)


@attrs.frozen(kw_only=True)
class Compared:
    """A comparison, as far as a canary needs it.

    Attributes:
        path: The file that it was read from.
        model: The model's name.
        versions: The baseline's number and the candidate's.
        digests: What names the bytes of each; None where that was not known.
        most: Which share of the sure images may get another best class.
        changed: How many of the pictures of which the baseline was sure got another best class,
        sure: and how many these pictures were.
        upper: The share that other pictures like these do not exceed, with 99% certainty.
    """

    path: Path
    model: str = attrs.field(validator=validators.instance_of(str))
    versions: tuple[int, int] = attrs.field(validator=validators.deep_iterable(_IS_WHOLE))
    digests: tuple[str | None, str | None] = attrs.field(
        validator=validators.deep_iterable(validators.optional(validators.instance_of(str)))
    )
    most: float = attrs.field(validator=_IS_SHARE)
    changed: int = attrs.field(validator=_IS_WHOLE)
    sure: int = attrs.field(validator=_IS_WHOLE)
    upper: float = attrs.field(validator=_IS_SHARE)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `invoke compare --json` printed.

        Raises:
            TaskFailure: If it cannot be read, is something else, broke a limit of its own or has too few pictures.
        """
        where = f"--compared {path}"
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST)
        except OSError as error:
            raise TaskFailure(f"{where} cannot be read: {error.strerror}.") from error
        try:
            data = json.loads(text)
            bound, status = data["bound_for_canary"], int(data["exit_status"])
            one, other = data["versions"]
            most, needed = bound["most_disagreement"], bound["sure_pictures_needed"]
            found = cls(
                path=path,
                model=data["model"],
                versions=(one["version"], other["version"]),
                digests=(one["sha256"], other["sha256"]),
                most=0.0 if most is None else most,
                changed=bound["other_answers"],
                sure=bound["sure_pictures"],
                upper=bound["upper_limit"],
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise TaskFailure(
                f"{where} is not what `invoke compare --json` of this release prints. Make it again: {_how()}"
            ) from error
        if status:
            raise TaskFailure(
                f"{where}: this comparison did not keep its own limits, or could not tell (exit status {status}). "
                "A canary takes its bound only from a comparison whose exit status is 0."
            )
        if most is None:
            more = f"about {needed:,} such pictures would be" if needed else "no number of such pictures is sure to be"
            raise TaskFailure(
                f"{where}: {found.sure} of its pictures are ones of which version {found.versions[0]} is 90% sure. "
                f"They are too few for a bound: {more} enough. Compare the versions on more pictures."
            )
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what `attrs.asdict` gave for another program, which does not see the file."""
        pairs = {name: tuple(data[name]) for name in ("versions", "digests")}
        return cls(**{**data, **pairs, "path": Path(data["path"])})

    def bounding(self, how: Settings, *, model: str, version: int) -> Settings:
        """Return *how* with this bound, if it is about *version* of *model*.

        Raises:
            TaskFailure: If it is not, or the bound would be of no use.
        """
        if (self.model, self.versions[1]) != (model, version):
            raise TaskFailure(
                f"--compared {self.path} is about version {self.versions[1]} of {self.model}, and this canary tries "
                f"version {version} of {model}. Compare that one: {_how(model, candidate=version)}"
            )
        if not how.shadow:
            raise TaskFailure(
                "--compared says how many answers may change, and shadow = 0 says that nobody compares answers: set "
                "shadow in the configuration, for example 0.1, or leave --compared out."
            )
        return attrs.evolve(how, limits=attrs.evolve(how.limits, most_disagreement=self.most))

    def candidate_digest(self, published: str | None) -> str | None:
        """Return what the bytes of the candidate must have.

        Args:
            published: What the store says; None: nothing.

        Raises:
            TaskFailure: If that is not what was compared.
        """
        self._check(1, published, "the store has")
        return published or self.digests[1]

    def check_stable(self, stable: int, digest: str | None) -> None:
        """Check that the version that callers get is the one that the candidate was compared with.

        Args:
            stable: Its number.
            digest: What names its bytes; None: nobody knows.

        Raises:
            TaskFailure: If it is not.
        """
        if self.versions[0] != stable:
            raise TaskFailure(
                f"--compared {self.path} compares version {self.versions[1]} of {self.model} with version "
                f"{self.versions[0]}, and callers get version {stable}. Compare it with that one: "
                f"{_how(self.model, baseline=stable, candidate=self.versions[1])}"
            )
        self._check(0, digest, "the server has")

    def _check(self, side: int, digest: str | None, whose: str) -> None:
        """Check that the bytes of a version are those that were compared, as far as both are known."""
        known = self.digests[side]
        if known and digest and known != digest:
            raise TaskFailure(
                f"--compared {self.path} is about other bytes of version {self.versions[side]} of {self.model} "
                f"(sha256 {known[:12]}) than {whose} (sha256 {digest[:12]}). Compare the versions again: "
                f"{_how(self.model, baseline=self.versions[0], candidate=self.versions[1])}"
            )


def told(how: Settings, compared: Compared | None, *, stable: int) -> str:
    """Return in sentences how many answers may change, and who says so.

    Args:
        how: How a canary goes about it.
        compared: What gave the bound; None: the configuration.
        stable: The version that callers get who name none.
    """
    most = how.limits.most_disagreement
    if most is None:
        why = "most_disagreement = 1 allows every answer" if how.shadow else "with shadow = 0 nothing is compared"
        return f"The answers of the two versions are not judged: {why}."
    bound = f"Of the images of which version {stable} is 90% sure, at most {_percent(most)} may get another class"
    if compared is None:
        return f"{bound}: most_disagreement of canary.toml (or --config) says so."
    return (
        f"{bound}. That comes from {compared.path}: {compared.changed:,} of {compared.sure:,} such pictures got "
        f"another class, so up to {_percent(compared.upper)} of others like them do (with 99% certainty). The limit is "
        "1.5 times that, and at least one point more."
    )


def _how(model: str = "MODEL", *, baseline: int | str = "OLD", candidate: int | str = "NEW") -> str:
    """Return the command that makes such a file."""
    asked = f"invoke compare --model {model} --baseline {baseline} --candidate {candidate}"
    return f"{asked} --images FOLDER --local --json > compared.json"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
