"""Start an instance at a server, wait until somebody is asked, and print its page in the console.

python start.py URL PROCESS NAME=VALUE...
"""

from __future__ import annotations

import sys
import time

from mlkit.bpmn import Client


def main() -> None:
    url, process, *given = sys.argv[1:]
    variables = dict(each.split("=", 1) for each in given)
    with Client(url) as client:
        instance = client.start(process, variables)["instance"]
        state = "running"
        while state == "running":
            time.sleep(0.2)
            state = client.instance(instance)["state"]
        for task in client.tasks():
            if task["instance"] == instance:
                print(f"{task['name']!r} waits for {task['assignee']}")
    print(f"{url}/instances/{instance}")


if __name__ == "__main__":
    main()
