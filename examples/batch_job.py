"""Classify a folder of images into a CSV file; a job that was interrupted goes on where it stopped.

Run:  TRITON_GRPC_URL=localhost:8001 python -m examples.batch_job photos/ labels.csv
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from triton_sdk import InvalidImageError, Prediction, ResNetClient, TritonError


def pending(folder: Path, table: Path) -> Iterator[Path]:
    """Yield the images of *folder* that *table* does not have yet."""
    done = set()
    if table.exists():
        with table.open(newline="") as file:
            done = {row[0] for row in csv.reader(file)}
    for path in sorted(folder.rglob("*.jpg")):
        if str(path.relative_to(folder)) not in done:
            yield path


def classify(client: ResNetClient, folder: Path, table: Path) -> tuple[int, int]:
    """Add a row to *table* for each image that it lacks; return how many were classified, and how many are no images.

    Any other error than a bad image ends the job: what the server fails with now is worth another run later.
    """
    paths = list(pending(folder, table))
    good = bad = 0
    with table.open("a", newline="") as file:
        rows = csv.writer(file)
        # Some batches are decoded while the server is at work on others; each row is written when its answer comes.
        for place, result in client.predict_stream(paths, top_k=1, batch_size=16):
            name = paths[place].relative_to(folder)
            if isinstance(result, Prediction):
                rows.writerow([name, result.label, f"{result.probability:.4f}", result.model_version])
                good += 1
            elif isinstance(result, InvalidImageError):
                rows.writerow([name, "", "", ""])
                bad += 1
            else:
                raise result
    return good, bad


def main(folder: str, table: str) -> None:
    """Run the job with the server that the environment names."""
    if not Path(folder).is_dir():
        sys.exit(f"There is no folder {folder}.")
    with ResNetClient.from_env() as client:
        client.wait_ready(timeout=60)
        good, bad = classify(client, Path(folder), Path(table))
    print(f"{good} classified, {bad} unreadable")  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (TritonError, OSError) as error:
        sys.exit(str(error))
