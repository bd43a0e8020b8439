"""AWS clients that answer from a script: real clients of boto3, which check every call against AWS's own models."""

from typing import Any

import attrs
import boto3
from botocore.stub import Stubber

from scripts.registry.aws import Access
from scripts.registry.credentials import Credentials
from scripts.registry.ecr import ImageRepository

ACCOUNT = "123456789012"
REGION = "eu-central-1"
REGISTRY = ImageRepository(
    account=ACCOUNT, region=REGION, name="triton-infer", host=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
)
WHERE = {"registryId": ACCOUNT, "repositoryName": "triton-infer"}
_SESSION = boto3.Session(aws_access_key_id="AKIA", aws_secret_access_key="s", region_name=REGION)
_CLIENTS = {name: _SESSION.client(name) for name in ("sts", "ecr")}


@attrs.define
class ScriptedAws:
    """Answers of AWS, in order; `access` is the way to it."""

    credentials: Credentials = attrs.field(factory=Credentials.of_keys)
    stubs: dict[str, Stubber] = attrs.field(factory=lambda: {name: Stubber(c) for name, c in _CLIENTS.items()})

    @property
    def access(self) -> Access:
        """The way to these answers."""
        for stub in self.stubs.values():
            stub.activate()
        return Access(region=REGION, credentials=self.credentials, client=lambda name: _CLIENTS[name])

    def identity(self, account: str = ACCOUNT) -> None:
        """Let the credentials belong to *account*."""
        answer = {"Account": account, "Arn": f"arn:aws:iam::{account}:user/ci", "UserId": "U"}
        self.stubs["sts"].add_response("get_caller_identity", answer, {})

    def ecr(self, method: str, answer: dict[str, Any], expected: dict[str, Any]) -> None:
        """Let ECR answer a call that has exactly the *expected* parameters."""
        self.stubs["ecr"].add_response(method, answer, expected)

    def refuse(self, method: str, code: str, message: str = "no", *, status: int = 400) -> None:
        """Let a call of ECR fail with AWS's error *code*."""
        self.stubs["ecr"].add_client_error(
            method, service_error_code=code, service_message=message, http_status_code=status
        )

    def close(self) -> None:
        """Check that every answer was asked for, and free the clients."""
        try:
            for stub in self.stubs.values():
                stub.assert_no_pending_responses()
        finally:
            for stub in self.stubs.values():
                stub.deactivate()
