"""Where AWS credentials come from, and what to say when that place gives none."""

from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import PurePath
from typing import Any, Self

import attrs

Profiles = Mapping[str, Mapping[str, Any]]
CONFIG = "~/.aws/config"


@attrs.frozen(kw_only=True)
class Credentials:
    """Where the credentials come from; as text, the name by which a message calls them.

    Attributes:
        name: ``"keys"``, ``"profile NAME"`` with the profile and the process behind it, or so.
        renew: What makes them fresh again, in sentences.
        process: The name of the program that prints them; empty where there is none. Its arguments may be secrets.
        asks: The profile that asks for a code of multi-factor authentication; empty where none does.
        broken: What of the profile's own text keeps it from giving any; empty where nothing is known.
        is_login: Whether they come of a login that a person makes.
    """

    name: str
    renew: str
    process: str = ""
    asks: str = ""
    broken: str = ""
    is_login: bool = False

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of_keys(cls) -> Self:
        """Return those that the settings hold."""
        return cls(
            name="keys",
            renew=(
                "Put fresh AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if they are temporary, AWS_SESSION_TOKEN in "
                ".env."
            ),
        )

    @classmethod
    def of_machine(cls) -> Self:
        """Return those that this machine has without any settings."""
        return cls(name="the machine's role", renew="Log in again, or set AWS_PROFILE or keys in .env.")

    @classmethod
    def of_profile(cls, name: str, profiles: Profiles) -> Self:
        """Return those of the profile *name*.

        Args:
            name: The profile's name.
            profiles: What the AWS files say of each profile.
        """
        chain, broken = _chain(name, profiles)
        last = chain[-1]
        told = profiles.get(last, {})
        called = f"profile {name}" + (f" by way of profile {last}" if last != name else "")
        asks = next((link for link in chain if profiles.get(link, {}).get("mfa_serial")), "")
        if process := _program(str(told.get("credential_process", ""))):
            return cls(
                name=f"{called} and its credential_process {process}",
                renew=f"Run the credential_process of profile {last} in {CONFIG} by hand, and mend what it says.",
                process=process,
                asks=asks,
                broken=broken,
            )
        login = next((way for key, way in _LOGINS.items() if key in told), "")
        if login:
            renew = f"Log in again: {login} --profile {last}"
        elif "web_identity_token_file" in told:
            renew = f"Renew the token in the web_identity_token_file of profile {last}."
        elif "aws_access_key_id" in told:
            renew = f"Renew the keys of profile {last}: aws configure --profile {last}"
        else:
            renew = (
                f"Log in again (aws sso login --profile {last}), or renew the profile's keys (aws configure --profile "
                f"{last})."
            )
        return cls(name=called, renew=renew, asks=asks, broken=broken, is_login=bool(login))

    def trouble(self, error: Exception) -> str:
        """Say, in sentences and without a word of theirs, why they gave none: *error* is what was raised."""
        if self.broken:
            return f"{self.broken} Correct {CONFIG}."
        if self.asks and isinstance(error, (EOFError, Warning)):
            return self.unasked
        if self.process:
            return f"{self.name} gave no credentials: {_fault(error)}. {self.renew}"
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            return f"a file that {self.name} needs cannot be read: {reason}. {self.renew}"
        if type(error).__name__ in ("InvalidConfigError", "UnknownCredentialError", "NoCredentialsError"):
            return f"what {CONFIG} says of {self.name} is not complete, or names what there is not. Correct it."
        if self.is_login:
            return f"the login of {self.name} has expired, or was never made. {self.renew}"
        return f"the login of {self.name} has expired or cannot be read ({type(error).__name__}). {self.renew}"

    @property
    def unasked(self) -> str:
        """What to do where a profile asks for a code and nobody is there to give it."""
        return (
            f"profile {self.asks} asks for an MFA code (mfa_serial), and there is no terminal to ask on. Run the task "
            "in a terminal, or make a session first (aws sts get-session-token) and put its three values in .env."
        )


# What a profile has that a person logs in to, and how.
_LOGINS = {"sso_session": "aws sso login", "sso_start_url": "aws sso login", "login_session": "aws login"}


def _chain(name: str, profiles: Profiles) -> tuple[list[str], str]:
    """Follow `source_profile` from *name* to the profile that has credentials; also say what is wrong on the way."""
    chain = [name]
    while profile := profiles.get(chain[-1], {}):
        source = profile.get("source_profile")
        if "role_arn" not in profile:
            break
        if not source:
            if not profile.keys() & {"credential_source", "web_identity_token_file"}:
                return chain, f"profile {chain[-1]} has a role_arn, and no source_profile whose credentials take it."
            break
        if source == chain[-1]:  # its own keys take its role
            break
        if source in chain:
            return chain, f"the profiles {', '.join(chain)} name each other as source_profile."
        if source not in profiles:
            return chain, f"profile {chain[-1]} names {source} as its source_profile, and there is no such profile."
        chain.append(source)
    return chain, ""


def _program(command: str) -> str:
    """Return the name of the program in a command line, which need not be a right one."""
    quoted = command.strip()[:1]
    first = command.strip()[1:].partition(quoted)[0] if quoted in ("'", '"') else command.strip().partition(" ")[0]
    return PurePath(first.replace("\\", "/")).name


def _fault(error: Exception) -> str:
    """Say what a process that should print credentials did instead."""
    said = str(getattr(error, "kwargs", {}).get("error_msg", ""))
    if isinstance(error, FileNotFoundError):
        return "it is not installed, or not on PATH"
    if isinstance(error, OSError):
        return f"it cannot be run ({error.strerror or type(error).__name__})"
    if isinstance(error, (JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError)):
        return "what it printed is no JSON object"
    if isinstance(error, RuntimeError):
        return "those that it printed have expired"
    if said.startswith("Unsupported version"):
        return 'the JSON that it printed lacks "Version": 1'
    if said.startswith("Missing required key"):
        return "the JSON that it printed lacks AccessKeyId or SecretAccessKey"
    if isinstance(error, ValueError):
        return "its command line, or the Expiration that it printed, cannot be read"
    return "it failed"
