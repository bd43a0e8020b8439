"""Whether a canary can begin."""

import pytest

from scripts.agent.traffic import Traffic
from scripts.canary import begin, manifests
from scripts.host.errors import TaskFailure


def test_who_shares_out_the_calls_already_is_to_be_ended_first() -> None:
    """If a Job does, its name is found by how it ends, whatever the release's Deployment is called."""
    plan = Traffic(model="cars", routes={2: 0.9, 4: 0.1}, candidate=4)
    begin.check_free(plan, in_force=False, version=3)
    begin.check_free(plan, in_force=True, version=4)
    with pytest.raises(TaskFailure, match=r"`kubectl delete job NAME`, where NAME is .* ends in ") as raised:
        begin.check_free(plan, in_force=True, version=3)
    ending = str(raised.value).partition("ends in ")[2].partition(". ")[0]
    assert manifests.name("triton-infer", "cars").endswith(ending)
    assert not manifests.name("triton-infer", "planes").endswith(ending)
