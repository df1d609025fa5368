"""An HTTP service that recognizes digits with a network from an archive: see README.md.

The archive is decoded when the service starts.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Request
from network import PIXELS, Array, Network

import vaecomp_native as vc

LARGEST_BODY = 1 << 16


def last_line(record: logging.LogRecord) -> bool:
    """Shorten the traceback of a failed start to its last line, which says what is wrong."""
    record.msg, record.args = record.getMessage().rstrip().splitlines()[-1], None
    return True


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Decode the archive before the first request."""
    path = Path(os.environ.get("ARCHIVE", "mnist.vaec"))
    try:
        app.state.network = Network(path)
    except (OSError, ValueError) as error:
        logging.getLogger("uvicorn.error").addFilter(last_line)
        raise RuntimeError(f"{path}: {error}") from None
    yield


app = FastAPI(title="Digits", lifespan=lifespan)


async def read_body(request: Request) -> bytes:
    """Read a request's body; a large one is refused."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, "send at most 64 KiB")
    return body


def read_pixels(request: Request, body: Annotated[bytes, Depends(read_body)]) -> Array:
    """Read the 784 pixels of a body, which is bytes or JSON by its content type."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return from_json(body)
    if len(body) != PIXELS:
        raise HTTPException(400, "send 784 bytes, one per pixel, or JSON with its content type")
    return np.frombuffer(body, np.uint8).astype(np.float32)


def from_json(body: bytes) -> Array:
    """Read the pixels of ``{"pixels": [...]}``."""
    try:
        document: Any = json.loads(body)
        pixels = document["pixels"]
        if len(pixels) != PIXELS or not all(
            type(p) in (int, float) and 0 <= p <= 255 for p in pixels
        ):
            raise ValueError("other pixels")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise HTTPException(400, 'send {"pixels": [...]} with 784 numbers from 0 to 255') from None
    return np.array(pixels, np.float32)


@app.get("/health")
async def health(request: Request) -> dict[str, str | int]:
    """Say that the service runs, with its number of layers and the library's version."""
    layers = len(request.app.state.network.layers)
    return {"status": "ok", "layers": layers, "library": vc.__version__}


@app.post("/predict")
def predict(request: Request, pixels: Annotated[Array, Depends(read_pixels)]) -> dict[str, Any]:
    """Return the digit of an image, and the probabilities of all digits."""
    scores = request.app.state.network.predict(pixels)
    return {"digit": int(scores.argmax()), "scores": scores.tolist()}
