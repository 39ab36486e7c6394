"""An asyncio worker: jobs wait in a queue, and the event loop never waits for a prediction.

python examples/asyncio_worker.py examples/pictures/*.png
"""

import asyncio
import json
import sys

from fmnist_edge import Classifier, ImageError

AT_ONCE = 2  # predictions under way; each takes one core
WAITING = 16  # jobs taken in before they can be worked on; whoever has more is made to wait


async def work(classifier: Classifier, jobs: asyncio.Queue[str]) -> None:
    """Answer jobs as they come, until cancelled."""
    while True:
        path = await jobs.get()
        try:
            answer = await asyncio.to_thread(classifier.predict, path)
        except ImageError as error:  # of this picture alone; anything else ends the worker, and is seen
            print(json.dumps({"path": path, "error": str(error)}), flush=True)
        else:
            print(json.dumps({"path": path, "label": answer.label, "confidence": answer.confidence}), flush=True)
        jobs.task_done()


async def main(paths: list[str]) -> None:
    """Queue the paths, where a broker's messages might come in, and see them all answered."""
    jobs: asyncio.Queue[str] = asyncio.Queue(WAITING)
    with Classifier() as classifier:
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(work(classifier, jobs)) for _ in range(AT_ONCE)]
            for path in paths:
                await jobs.put(path)
            await jobs.join()
            for worker in workers:
                worker.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
