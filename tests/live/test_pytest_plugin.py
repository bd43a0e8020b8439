"""The pytest plugin as a project of our users has it: other processes, warnings as errors, a real Triton."""

import re
import textwrap
from pathlib import Path

import pytest

from triton_sdk.local import Runtime

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(120)

STRICT = ("-p", "no:cacheprovider", "-W", "error", "--strict-config", "--strict-markers")
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_a_service_tests_against_a_real_triton(
    pytester: pytest.Pytester, packaged: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that docs/testing.md shows pass in a project of their own, with the server started once."""
    fences = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (example,) = (code for code in fences if "local_triton" in code)
    # pytester gives its child another home, and the server is in the cache of this one.
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime.folder.parents[1]))
    pytester.makepyfile(test_service=example)
    pytester.makeini(f"[pytest]\ntriton_repository = {packaged}\n")
    result = pytester.runpytest_subprocess(*STRICT, timeout=100)
    result.assert_outcomes(passed=example.count("def test_"))


def test_a_project_without_triton_imports_none_of_it(pytester: pytest.Pytester) -> None:
    """That the SDK is installed changes nothing: no module of it is loaded, and no warning is given."""
    code = """
    import sys

    def test_nothing_is_loaded():
        assert "triton_sdk_pytest" in sys.modules
        assert not [name for name in sys.modules if name.split(".")[0] in ("triton_sdk", "grpc", "tritonclient")]
    """
    pytester.makepyfile(textwrap.dedent(code))
    pytester.runpytest_subprocess(*STRICT, timeout=60).assert_outcomes(passed=1)
