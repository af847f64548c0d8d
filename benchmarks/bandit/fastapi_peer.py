"""The peer of serving.py: FastAPI, Pydantic, dicts and NumPy, as such services are often written.

uvicorn imports this file in each worker; MLKIT_PEER_POSTERIORS names a CSV with arm, a and b.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel


class Query(BaseModel):
    context: str | None = None
    candidates: list[str]
    k: int = 10


with Path(os.environ["MLKIT_PEER_POSTERIORS"]).open() as stream:
    POSTERIORS = {row["arm"]: (float(row["a"]), float(row["b"])) for row in csv.DictReader(stream)}

generator = np.random.Generator(np.random.SFC64())
app = FastAPI()


@app.post("/predict")
async def predict(query: Query) -> dict[str, list]:
    prior = (1.0, 1.0)
    rows = np.array([POSTERIORS.get(arm, prior) for arm in query.candidates])
    draws = generator.beta(rows[:, 0], rows[:, 1])
    best = np.argpartition(draws, -query.k)[-query.k :]
    best = best[np.argsort(-draws[best])]
    return {
        "arms": [query.candidates[i] for i in best],
        "scores": draws[best].tolist(),
    }
