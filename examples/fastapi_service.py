"""A service: send a picture, get what is in it.

pip install fastapi uvicorn python-multipart
uvicorn --app-dir examples fastapi_service:app
curl -F picture=@examples/pictures/bag.png http://127.0.0.1:8000/predict
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, UploadFile

from fmnist_edge import Classifier, ImageError


@asynccontextmanager
async def one_classifier(app: FastAPI) -> AsyncIterator[None]:
    """One for the whole life of the process, shared by every request."""
    with Classifier() as app.state.classifier:
        yield


app = FastAPI(title="fmnist-edge", lifespan=one_classifier)


@app.post("/predict")
def predict(request: Request, picture: UploadFile) -> dict[str, Any]:
    """Name what is in a picture. A plain function: FastAPI runs it in a thread, and the loop stays free."""
    try:
        answer = request.app.state.classifier.predict(picture.file)
    except ImageError as error:
        raise HTTPException(422, str(error)) from error
    return {
        "label": answer.label,
        "confidence": answer.confidence,
        "known": answer.known,
        "top": [{"label": candidate.label, "probability": candidate.probability} for candidate in answer.top(3)],
    }


@app.get("/health")
def health(request: Request) -> dict[str, Any]:
    """Replay the model's self-test: it takes as long as four pictures."""
    classifier = request.app.state.classifier
    return {"model": classifier.contract.name, "ok": classifier.self_test().ok}
