"""Bulk scoring on Ray Data: a folder of pictures in, files of JSON lines out.

    pip install 'fmnist-edge[ray]'
    python examples/ray_bulk.py examples/pictures answers/

It runs on this machine alone, unless RAY_ADDRESS names a cluster: RAY_ADDRESS=head:6379 python examples/ray_bulk.py ...
Both folders must then be where every machine can reach them: a shared disk, s3://, gs://.
"""

import os
import sys
from typing import Any

import ray

from fmnist_edge import Classifier, ImageError

# Shares of a core. Were each step to ask for a whole one, they would wait for each other where cores are few.
READS, SCORES, WRITES = 0.1, 0.8, 0.1


class Scorer:
    """One Classifier in each process that Ray starts; it lives as long as the process."""

    def __init__(self) -> None:
        """Load the model once."""
        self.classifier = Classifier()
        self.node = ray.get_runtime_context().get_node_id()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer for one picture; one that cannot be read stops nobody."""
        answered = {"path": row["path"], "label": None, "confidence": None, "error": None, "node": self.node}
        try:
            prediction = self.classifier.predict(row["bytes"])
        except ImageError as error:
            return answered | {"error": str(error)}
        return answered | {"label": prediction.label, "confidence": prediction.confidence}


def main(pictures: str, answers: str) -> None:
    """Score every picture, a process on every core there is."""
    ray.init(os.environ.get("RAY_ADDRESS") or "local")  # by itself it would join any cluster that runs on this machine
    every_core = ray.data.ActorPoolStrategy(size=int(ray.cluster_resources()["CPU"]))
    read = ray.data.read_binary_files(pictures, include_paths=True, num_cpus=READS)
    scored = read.map(Scorer, compute=every_core, num_cpus=SCORES)
    scored.write_json(answers, ray_remote_args={"num_cpus": WRITES})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
