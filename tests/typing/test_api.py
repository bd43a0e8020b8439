"""The types that users see: right uses pass mypy --strict, and wrong ones do not."""

import os
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What is wrong in each line, and the code of mypy's error about it.
WRONG = {
    # None, for mypy tries what is one too many on the first setting too.
    'ResNetClient("localhost:8001", None)': "call-arg",
    'ResNetClient("localhost:8001", timeout="3")': "arg-type",
    'ResNetClient("localhost:8001").predict(7)': "arg-type",
    'ResNetClient("localhost:8001").predict("cat.jpg", 2)': "call-arg",
    'ResNetClient("localhost:8001").predict("cat.jpg", version="2")': "arg-type",
    'ResNetClient("localhost:8001").predict("cat.jpg").lable': "attr-defined",
    'ResNetClient("localhost:8001").predict("cat.jpg").top[0].probability = 1.0': "misc",
    'ResNetClient("localhost:8001").infer([[1.0]])': "arg-type",
    "RetryPolicy(3)": "call-arg",
    'ResNetClient("localhost:8001").predict("cat.jpg", version={1: 90, 2: 10})': "arg-type",
    'ResNetClient("localhost:8001").predict("cat.jpg", version=Split({1: 90, 2: 10}), key=1.5)': "arg-type",
    'ResNetClient("localhost:8001").ready(version=Split({1: 90, 2: 10}))': "arg-type",
    'ResNetClient("localhost:8001").ready(2)': "call-arg",
    'ResNetClient("localhost:8001").wait_ready(5)': "call-arg",
    'ResNetClient("localhost:8001", timeout_s=3)': "call-arg",
    'Split({"1": 90})': "dict-item",
    "Split({1: 90}, {2: 10})": "call-arg",
    "Split({1: 90}).choose(None)": "arg-type",
    "Fallback([2, 1])": "arg-type",
    "Fallback(Shadow(1, 2, 0.1, print), 1)": "arg-type",
    "Shadow(1, None, 0.1, print)": "arg-type",
    "Shadow(1, 2, 0.1, len)": "arg-type",
    "Shadow(1, 2, 0.1)": "call-arg",
    'ClientConfig(url="localhost:8001", retry=3)': "arg-type",
}


@pytest.mark.timeout(180)
def test_right_uses_pass_and_wrong_ones_do_not(tmp_path: Path) -> None:
    """One run of mypy accepts api.py whole, and finds exactly one error in each line of wrong uses."""
    try:
        from mypy import api
    except ImportError:
        message = "needs mypy: pip install -e '.[types]'"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("\n".join(["from triton_sdk import *", *WRONG]) + "\n")
    config = str(HERE.parents[1] / "setup.cfg")
    cache = str(tmp_path / "cache")
    out, problems, _ = api.run(["--config-file", config, "--cache-dir", cache, str(HERE / "api.py"), str(wrong)])
    assert problems == ""
    found = re.findall(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", out, re.MULTILINE)
    assert [(Path(name).name, int(line), code) for name, line, code in found] == [
        ("wrong.py", line, code) for line, code in enumerate(WRONG.values(), start=2)
    ], out
