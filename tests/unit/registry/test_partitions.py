"""The hosts of AWS's partitions, as botocore knows them."""

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.settings import VARIABLES
from scripts.registry import partitions

DOMAINS = {
    "eu-central-1": "amazonaws.com",
    "ap-southeast-99": "amazonaws.com",
    "us-gov-west-1": "amazonaws.com",
    "cn-north-1": "amazonaws.com.cn",
    "eusc-de-east-1": "amazonaws.eu",
    "us-iso-east-1": "c2s.ic.gov",
    "us-isob-east-1": "sc2s.sgov.gov",
    "eu-isoe-west-1": "cloud.adc-e.uk",
    "us-isof-south-1": "csp.hci.ic.gov",
}


@pytest.mark.parametrize(("region", "domain"), DOMAINS.items())
def test_each_partition_has_its_own_domain(region: str, domain: str) -> None:
    """Europe's sovereign cloud and the secret regions among them; a new region of a known partition too."""
    assert VARIABLES["AWS_REGION"](region) == ""
    assert partitions.domain(region) == domain
    own = partitions.registry_host().fullmatch(f"123456789012.dkr.ecr.{region}.{domain}")
    assert own is not None
    assert own.groups() == ("123456789012", region)


@pytest.mark.parametrize(
    "host", ["123456789012.dkr.ecr.eu-west-1.evil.com", "dkr.ecr.eu-west-1.amazonaws.com", "nvcr.io"]
)
def test_other_hosts_are_no_ecr(host: str) -> None:
    """A login that AWS gives goes to AWS's hosts."""
    assert partitions.registry_host().fullmatch(host) is None


@pytest.mark.parametrize("region", ["xx-nowhere-9", "eu-central", "eusc-fr-east-1"])
def test_a_region_of_no_partition_is_one_message(region: str) -> None:
    """It names the region, and what to do if that is new."""
    with pytest.raises(TaskFailure, match=f"AWS has no region {region}.*Correct AWS_REGION"):
        partitions.domain(region)
