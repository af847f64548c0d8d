"""A program of a client of the server, on the client that openapi-python-client has generated.

It prints what it was answered, so that the test can look at it.
"""

import json
import sys

from client import Client
from client.api.arms import get_arm, list_arms
from client.api.feedback import send_feedback, send_feedback_batch
from client.api.predictions import predict, predict_batch
from client.models import FeedbackEvent, PredictRequest

with Client(base_url=sys.argv[1]) as api:
    ask = PredictRequest(context="u1", candidates=["c1", "c2", "a/b é"], k=2, seed=2**64 - 1)
    one = predict.sync(client=api, body=ask)
    every = predict_batch.sync(client=api, body=[ask, ask])
    event = FeedbackEvent(arm=one.arms[0], reward=0.1, decision_id=one.decision_id)
    receipt = send_feedback.sync(client=api, body=event)
    receipts = send_feedback_batch.sync(client=api, body=[event])
    page = list_arms.sync(client=api)
    phantom = FeedbackEvent(arm="rde", reward=1, decision_id=one.decision_id)
    answers = {
        "prediction": one.to_dict(),
        "batch": [each.to_dict() for each in every],
        "receipt": receipt.to_dict(),
        "receipts": [each.to_dict() for each in receipts],
        "arm": get_arm.sync(client=api, id="a/b é").to_dict(),
        "arms": len(page.arms),
        "next": page.next_,
        "error": send_feedback.sync(client=api, body=phantom).to_dict(),
    }
json.dump(answers, sys.stdout)
