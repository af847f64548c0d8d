"""What the JSON documents of `mlkit bandit` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlkit.bandit.posteriors.posterior import Posteriors


def model_fields(posteriors: Posteriors) -> dict[str, Any]:
    """Return what a document tells of the model that posteriors belong to."""
    prior, shrinkage = list(posteriors.prior), posteriors.shrinkage
    found = {"model": posteriors.model, "prior": prior, "shrinkage": shrinkage}
    if posteriors.window is not None:
        hours = posteriors.window.buckets.hours
        return found | {"window_hours": hours, "as_of": posteriors.window.as_of}
    return found | ({} if posteriors.forgetting is None else posteriors.forgetting._asdict())
