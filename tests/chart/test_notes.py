"""What a person reads after an installation; ``python -m tests.chart.test_notes`` writes the expected texts anew."""

from pathlib import Path

import pytest

from tests.chart.cases import ALL, CPU, LEAST, Values, merge
from tests.chart.engines import Library

EXPECTED = Path(__file__).parent / "notes"
NOTES: dict[str, Values] = {
    "gpu": merge(LEAST, {"readiness": {"model": "resnet50", "version": 1}}),
    "gpu-three-replicas": merge(LEAST, {"replicas": 3}),
    "cpu": merge(LEAST, CPU),
    "recreate-open": merge(LEAST, {"rollout": {"recreate": True}, "admin": {"restrictedApis": []}}),
    "all": ALL,
}


@pytest.mark.parametrize("name", NOTES)
def test_the_notes_are_as_expected(library: Library, name: str) -> None:
    """NOTES.txt says for each kind of installation exactly what its file says."""
    assert library.render(NOTES[name]).notes.strip() == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("values", NOTES.values(), ids=NOTES)
def test_the_notes_show_no_secret(library: Library, values: Values) -> None:
    """The notes tell how to read the key, and not the key."""
    rendered = library.render(values)
    for secret in rendered.all("Secret"):
        assert secret["data"]["key"] not in rendered.notes


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for case, given in NOTES.items():
        (EXPECTED / f"{case}.txt").write_text(Library().render(given).notes.strip() + "\n", encoding="utf-8")
