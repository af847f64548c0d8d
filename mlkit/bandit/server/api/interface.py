"""The HTTP interface of the server: paths, operations, and their description."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from mlkit.bandit.posteriors.posterior import ID_BYTES
from mlkit.bandit.server.api.endpoints import Endpoints
from mlkit.bandit.server.api.messages import (
    Amendment,
    Arm,
    ArmParameters,
    ArmsPage,
    FeedbackEvent,
    FeedbackReceipt,
    Health,
    Limits,
    Prediction,
    PredictRequest,
    Versions,
    id_schema,
)
from mlkit.bandit.server.dashboard.routes import Dashboard
from mlkit.bandit.server.settings import ROLES
from mlkit.web import openapi
from mlkit.web.access import Access
from mlkit.web.application import Answer, Handler, Operation, Parameter, Route
from mlkit.web.description import Description
from mlkit.web.pages import Pages

PREDICT, FEEDBACK, ARMS, OBSERVE, OPERATE = ROLES

_MALFORMED = {400: "Malformed JSON (with the position)."}
_INVALID = {422: "A wrong type or value (with the field); nothing was done."}
_LOADING = {503: "The posteriors are still being loaded: try again."}
_UNWRITABLE = {503: "Posteriors are being loaded, or the journal cannot be written: try again."}
_NO_UTF8 = {400: "Malformed JSON, or an id in the path or query that is not UTF-8."}
_NO_ARM = {404: "There is no such arm."}
_READ = _MALFORMED | _INVALID | _LOADING
_FEEDBACK_PROBLEMS = {
    **_MALFORMED,
    409: "The event id was used with another body; nothing was accepted.",
    410: "The decision is older than the dedupe window; nothing was accepted.",
    422: "A wrong value (with the field), an arm that the decision did not show or that was "
    "never added; nothing was accepted.",
    **_UNWRITABLE,
}
_ONE_PREDICTION = {"context": "u123", "candidates": ["c1", "c2", "c3"], "k": 2}
_ONE_EVENT = {"event_id": "click-1", "context": "u123", "arm": "c1", "reward": 1}
_ONE_AMENDMENT = {"event_id": "refund-1", "amends": "click-1", "reward": None}


def _list(of: Any, most: int) -> Any:
    return Annotated[list[of], Meta(min_length=1, max_length=most)]


def routes(
    endpoints: Endpoints, limits: Limits, access: Access | None, dashboard: Dashboard | None = None
) -> dict[str, Route]:
    """Return the paths of a worker; a path that ends in `/` is a prefix."""
    description, pages = Description(OBSERVE), Pages() if dashboard is None else dashboard.pages
    shown = {} if dashboard is None else dashboard.routes(OBSERVE)
    described = {
        **_predict_routes(endpoints, limits),
        **_feedback_routes(endpoints, limits),
        "/arms": Route("/arms", {"GET": _list_arms(endpoints, limits)}),
        "/arms/": _one_arm(endpoints),
        **_version_routes(endpoints),
        "/health": Route("/health", {"GET": _health(endpoints)}),
        "/metrics": Route("/metrics", {"GET": _metrics(endpoints)}),
        **shown,
        **description.routes(),
    }
    document = openapi.document(
        "mlkit bandit serve",
        "Recommendations by Thompson sampling, and feedback on them.",
        [each for each in described.values() if not each.hidden],
        access=access,
        bounds=limits.bounds(),
    )
    description.describe(document, pages)
    return described | dict([pages.route()])


def _predict_routes(endpoints: Endpoints, limits: Limits) -> dict[str, Route]:
    one = Operation(
        endpoints.predict,
        id="predict",
        summary="Rank candidates: the best k by a draw from each candidate's posterior.",
        tag="predictions",
        role=PREDICT,
        body=PredictRequest,
        example=_ONE_PREDICTION,
        answers={200: Answer("The best arms.", Prediction)},
        problems=_READ,
        direct=endpoints.predict_directly,
    )
    batch = Operation(
        endpoints.predict_batch,
        id="predictBatch",
        summary="Answer several predictions at once, in their order.",
        tag="predictions",
        role=PREDICT,
        body=_list(PredictRequest, limits.max_batch),
        example=[_ONE_PREDICTION],
        answers={200: Answer("The best arms of each.", list[Prediction])},
        problems=_READ,
    )
    return {
        "/predict": Route("/predict", {"POST": one}),
        "/predict/batch": Route("/predict/batch", {"POST": batch}),
    }


def _feedback_routes(endpoints: Endpoints, limits: Limits) -> dict[str, Route]:
    one = Operation(
        endpoints.rewards.accept,
        id="sendFeedback",
        summary="Send a reward. The answer follows when it is on disk.",
        tag="feedback",
        role=FEEDBACK,
        body=FeedbackEvent,
        example=_ONE_EVENT,
        answers={200: Answer("It is on disk.", FeedbackReceipt)},
        problems=_FEEDBACK_PROBLEMS,
    )
    batch = Operation(
        endpoints.rewards.accept_batch,
        id="sendFeedbackBatch",
        summary="Send several rewards, of which all are accepted or none.",
        tag="feedback",
        role=FEEDBACK,
        body=_list(FeedbackEvent, limits.max_events),
        example=[_ONE_EVENT],
        answers={200: Answer("They are on disk.", list[FeedbackReceipt])},
        problems=_FEEDBACK_PROBLEMS,
    )
    amend = Operation(
        endpoints.rewards.amend,
        id="amendFeedback",
        summary="Correct or withdraw a reward, by the id of its event.",
        tag="feedback",
        role=FEEDBACK,
        body=Amendment,
        example=_ONE_AMENDMENT,
        answers={200: Answer("It is on disk.", FeedbackReceipt)},
        problems=_FEEDBACK_PROBLEMS,
    )
    return {
        "/feedback/amend": Route("/feedback/amend", {"POST": amend}),
        "/feedback": Route("/feedback", {"POST": one}),
        "/feedback/batch": Route("/feedback/batch", {"POST": batch}),
    }


def _version_routes(endpoints: Endpoints) -> dict[str, Route]:
    compare = Operation(
        endpoints.status.versions,
        id="compareVersions",
        summary="Compare the stable version of the model with the candidate.",
        tag="versions",
        role=OBSERVE,
        answers={200: Answer("What their decisions earned.", Versions)},
        problems=_LOADING,
    )
    promote = _switch(endpoints.status.promote, "promoteCandidate", "Promote the candidate.")
    roll_back = _switch(endpoints.status.roll_back, "rollBackCandidate", "Forget the candidate.")
    return {
        "/versions": Route("/versions", {"GET": compare}),
        "/promote": Route("/promote", {"POST": promote}),
        "/rollback": Route("/rollback", {"POST": roll_back}),
    }


def _switch(handler: Handler, name: str, summary: str) -> Operation:
    return Operation(
        handler,
        id=name,
        summary=summary,
        tag="versions",
        role=OPERATE,
        answers={204: Answer("It is done, on disk and in all workers.")},
        problems={409: "There is no candidate.", **_UNWRITABLE},
    )


def _list_arms(endpoints: Endpoints, limits: Limits) -> Operation:
    limit = {"type": "integer", "minimum": 1, "maximum": limits.max_page, "default": 100}
    return Operation(
        endpoints.arms.page,
        id="listArms",
        summary="List the arms in the order of their ids.",
        tag="arms",
        role=OBSERVE,
        answers={200: Answer("A page of arms.", ArmsPage)},
        problems=_NO_UTF8 | _INVALID | _LOADING,
        parameters=(
            Parameter("limit", "query", limit, "Maximum number of arms of the page."),
            Parameter("after", "query", id_schema(), "The `next` of the previous page."),
        ),
    )


def _one_arm(endpoints: Endpoints) -> Route:
    text = f"1 to {ID_BYTES} bytes of UTF-8, percent-encoded once; it may hold `/`."
    problems = _NO_UTF8 | _INVALID
    get = Operation(
        endpoints.arms.get,
        id="getArm",
        summary="Show an arm.",
        tag="arms",
        role=OBSERVE,
        answers={200: Answer("The arm.", Arm)},
        problems=problems | _NO_ARM | _LOADING,
    )
    put = Operation(
        endpoints.arms.put,
        id="putArm",
        summary="Add an arm, or set its posterior; without a body it is the prior.",
        tag="arms",
        role=ARMS,
        body=ArmParameters,
        body_required=False,
        example={"a": 1, "b": 20},
        answers={200: Answer("It existed already.", Arm), 201: Answer("It is new.", Arm)},
        problems=problems | _UNWRITABLE,
    )
    delete = Operation(
        endpoints.arms.remove,
        id="removeArm",
        summary="Remove an arm and all that is known of it.",
        tag="arms",
        role=ARMS,
        answers={204: Answer("It is gone.")},
        problems=problems | _NO_ARM | _UNWRITABLE,
    )
    methods = {"GET": get, "PUT": put, "DELETE": delete}
    return Route("/arms/{id}", methods, (Parameter("id", "path", id_schema(), text),))


def _health(endpoints: Endpoints) -> Operation:
    return Operation(
        endpoints.status.health,
        id="getHealth",
        summary="Report whether predictions can be served; needs no token.",
        tag="server",
        answers={200: Answer("They can.", Health)},
        problems=_LOADING,
    )


def _metrics(endpoints: Endpoints) -> Operation:
    return Operation(
        endpoints.status.metrics,
        id="getMetrics",
        summary="Prometheus metrics, summed over the workers.",
        tag="server",
        role=OBSERVE,
        answers={200: Answer("The metrics.", media="text/plain")},
    )
