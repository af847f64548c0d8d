"""A worker: echoes typed variables, fails, throws, and stops at the topic "stop"."""

import json
import sys
import threading

from operaton.external_task.external_task import ExternalTask, TaskResult
from operaton.external_task.external_task_worker import ExternalTaskWorker

CONFIG = {
    "maxTasks": 5,
    "lockDuration": 60000,
    "asyncResponseTimeout": 10000,
    "retries": 3,
    "retryTimeout": 10,
    "sleepSeconds": 0,
}


def handle(task: ExternalTask) -> TaskResult:
    topic = task.get_topic_name()
    if topic == "fail":
        return task.failure("no luck", "trace\nline", max_retries=0, retry_timeout=10)
    if topic == "throw":
        return task.bpmn_error("REJECTED", "too much", {"code": 7})
    if topic == "stop":
        stop.set()
        return task.complete()
    back = {}
    for name in task.get_variables():
        given = task.get_variable(name, with_meta=True)
        sys.stdout.write(json.dumps({"name": name, "value": given["value"]}) + "\n")
        sys.stdout.flush()
        if given["type"] != "File":  # This client does not load files.
            back[f"{name}_back"] = given
    back["plain"] = "text"
    return task.complete(back, {"mine": 1})


stop = threading.Event()
worker = ExternalTaskWorker("python", base_url=sys.argv[1], config=CONFIG, stop_event=stop)
worker.subscribe(["echo", "fail", "throw", "stop"], handle)
