"""`mlkit bpmn`: its commands, in the order of their use."""

from __future__ import annotations

from mlkit.cli.groups import group

app = group(
    "bpmn",
    "Run BPMN diagrams as durable pipelines: scripts, people, timers, errors.",
    {
        "run": (
            "mlkit.cli.bpmn.run:run",
            "Run a diagram until it ends or waits for a person, a message or a signal.",
        ),
        "test": (
            "mlkit.cli.bpmn.test:play",
            "Play scenarios and compare each run with what is expected of it.",
        ),
        "scenario": (
            "mlkit.cli.bpmn.scenario:scenario",
            "Write a scenario out of what an instance met, to be played as a test.",
        ),
        "lint": (
            "mlkit.cli.bpmn.lint:lint",
            "Find all problems of diagrams and decision models.",
        ),
        "render": (
            "mlkit.cli.bpmn.render:render",
            "Draw a diagram or decision model as SVG, PNG or text, coloured by what happened.",
        ),
        "deploy": (
            "mlkit.cli.bpmn.deploy:deploy",
            "Deploy diagrams with their scripts, forms, decisions and called diagrams.",
        ),
        "serve": (
            "mlkit.cli.bpmn.serve:serve",
            "Run instances for ever, and answer over HTTP.",
        ),
        "user": (
            "mlkit.cli.bpmn.users:app",
            "Say who may log in to a server, and what they may do.",
        ),
        "schedules": (
            "mlkit.cli.bpmn.schedules:app",
            "See what starts by itself, and when; pause it, or start it now.",
        ),
        "worker": (
            "mlkit.cli.bpmn.worker:worker",
            "Do external tasks of a server, in isolated processes of this machine.",
        ),
        "list": (
            "mlkit.cli.bpmn.instances:list_",
            "List the instances of a state folder or a server, oldest first.",
        ),
        "show": (
            "mlkit.cli.bpmn.instances:show",
            "Show where an instance's tokens are, its variables, and what it waits for.",
        ),
        "history": (
            "mlkit.cli.bpmn.instances:history",
            "Show the flow nodes that an instance went through, in order, and what was decided.",
        ),
        "logs": (
            "mlkit.cli.bpmn.instances:logs",
            "Show what each attempt at a task printed, its duration and its peak memory.",
        ),
        "artifacts": (
            "mlkit.cli.bpmn.instances:artifacts",
            "List the stored values of an instance: which task made each, and from which others.",
        ),
        "stores": (
            "mlkit.cli.bpmn.instances:stores",
            "List the data stores, and which instance set each last.",
        ),
        "tasks": ("mlkit.cli.bpmn.people:tasks", "List the user tasks that wait."),
        "claim": (
            "mlkit.cli.bpmn.people:claim",
            "Take a user task, so that it is yours; or give it back.",
        ),
        "delegate": (
            "mlkit.cli.bpmn.people:delegate",
            "Give a user task to somebody else.",
        ),
        "complete": (
            "mlkit.cli.bpmn.people:complete",
            "Complete a user task with the values of its form.",
        ),
        "approve": (
            "mlkit.cli.bpmn.people:approve",
            "Approve: complete a user task with `approved` true.",
        ),
        "reject": (
            "mlkit.cli.bpmn.people:reject",
            "Reject: complete a user task with `approved` false.",
        ),
        "start": (
            "mlkit.cli.bpmn.people:start",
            "Start an activity of an ad-hoc sub-process, or end the sub-process.",
        ),
        "message": (
            "mlkit.cli.bpmn.people:message",
            "Send a message to the one activity that waits for it; else keep it.",
        ),
        "signal": (
            "mlkit.cli.bpmn.people:signal",
            "Broadcast a signal to everything that waits for it now.",
        ),
        "resume": (
            "mlkit.cli.bpmn.run:resume",
            "Go on after a kill, or wait for the timers of instances that wait.",
        ),
        "mail": (
            "mlkit.cli.bpmn.mail:app",
            "Send the mail that tells people of their tasks; see what was sent, and what failed.",
        ),
        "people": (
            "mlkit.cli.bpmn.absences:app",
            "Name substitutes for a time, choose one mail a day, check a people file.",
        ),
        "retry": (
            "mlkit.cli.bpmn.instances:retry",
            "Try incidents again, with other limits where they are given.",
        ),
        "rerun": (
            "mlkit.cli.bpmn.run:rerun",
            "Run a new instance from a task on, with the results of all before it.",
        ),
        "suspend": (
            "mlkit.cli.bpmn.instances:suspend",
            "Let nothing of an instance begin any more, until `unsuspend`.",
        ),
        "unsuspend": (
            "mlkit.cli.bpmn.instances:unsuspend",
            "Let a suspended instance go on, with all that came meanwhile.",
        ),
        "cancel": ("mlkit.cli.bpmn.instances:cancel", "End an instance."),
        "check": (
            "mlkit.cli.bpmn.instances:check",
            "Look for damage in a state folder; exits 1 where there is some.",
        ),
        "export": (
            "mlkit.cli.bpmn.transfer:export",
            "Write a journal with its stored values into a file, to be moved.",
        ),
        "import": (
            "mlkit.cli.bpmn.transfer:import_",
            "Read an exported journal into an empty one, of SQLite or PostgreSQL.",
        ),
        "prune": (
            "mlkit.cli.bpmn.transfer:prune",
            "Remove instances that ended long ago, with logs and stored values.",
        ),
        "eval": (
            "mlkit.cli.bpmn.eval:evaluate",
            "Print the value of an expression, in FEEL's notation.",
        ),
        "decide": ("mlkit.cli.bpmn.decide:decide", "Decide by a DMN model."),
    },
    shared=("state", "journal", "server"),
)
