"""Where this repository is, and what lies in it wherever a task is called from, as `.env` does."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The packaged models, and the request that `invoke generate-input` writes.
REPOSITORY = ROOT / "model_repository"
INPUT = ROOT / "input.json"
