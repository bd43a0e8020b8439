"""AWS's partitions: which domain the hosts of a region have, as botocore's own data says it."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from botocore.loaders import create_loader

from scripts.host.errors import TaskFailure


def domain(region: str) -> str:
    """Return the domain of a region's hosts, ``"amazonaws.com"`` for most.

    Raises:
        TaskFailure: If the region belongs to no partition.
    """
    for partition in _partitions():
        if region in partition["regions"] or re.fullmatch(partition["regionRegex"], region):
            return str(partition["outputs"]["dnsSuffix"])
    raise TaskFailure(
        f"AWS has no region {region}, as far as the botocore here knows. Correct AWS_REGION; if the region is new: "
        "pip install --upgrade boto3"
    )


@functools.cache
def registry_host() -> re.Pattern[str]:
    """Return the pattern of an ECR registry's host; its groups are account and region."""
    domains = "|".join(sorted({re.escape(partition["outputs"]["dnsSuffix"]) for partition in _partitions()}))
    # Hosts with IPv6 addresses are called NUMBER.dkr-ecr.REGION.on.aws, .on.amazonwebservices.com.cn and so on.
    return re.compile(rf"(\d{{12}})\.dkr[.-]ecr(?:-fips)?\.([\w-]+)\.(?:{domains}|on\.[\w.]+)")


@functools.cache
def _partitions() -> tuple[Mapping[str, Any], ...]:
    return tuple(create_loader().load_data("partitions")["partitions"])
