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
            "Write a scenario from the history of an instance, to be played as a test.",
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
        "start": (
            "mlkit.cli.bpmn.start:start",
            "Start a deployed definition, or an activity of an ad-hoc sub-process.",
        ),
        "serve": (
            "mlkit.cli.bpmn.serve:serve",
            "Run instances permanently, and answer over HTTP.",
        ),
        "user": (
            "mlkit.cli.bpmn.users:app",
            "Manage who may log in to a server, and what they may do.",
        ),
        "schedules": (
            "mlkit.cli.bpmn.schedules:app",
            "List scheduled starts, pause them, or start one now.",
        ),
        "worker": (
            "mlkit.cli.bpmn.worker:worker",
            "Run external tasks and scripts of a server, in isolated processes on this machine.",
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
            "Show the flow nodes that an instance went through, in order, and its decisions.",
        ),
        "logs": (
            "mlkit.cli.bpmn.instances:logs",
            "Show what each attempt at a task printed, its duration, its peak memory and its host.",
        ),
        "artifacts": (
            "mlkit.cli.bpmn.instances:artifacts",
            "List the stored values of an instance, the task that made each, and their origins.",
        ),
        "stores": (
            "mlkit.cli.bpmn.instances:stores",
            "List the data stores, and which instance set each last.",
        ),
        "retries": (
            "mlkit.cli.bpmn.instances:retries",
            "List the tasks that wait for another attempt, and why the last one failed.",
        ),
        "tasks": ("mlkit.cli.bpmn.people:tasks", "List the user tasks that wait."),
        "claim": (
            "mlkit.cli.bpmn.people:claim",
            "Claim a user task, or release it.",
        ),
        "delegate": (
            "mlkit.cli.bpmn.people:delegate",
            "Delegate a user task to somebody else.",
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
        "message": (
            "mlkit.cli.bpmn.people:message",
            "Send a message to the one activity that waits for it, or keep it until one does.",
        ),
        "signal": (
            "mlkit.cli.bpmn.people:signal",
            "Broadcast a signal to everything that waits for it now.",
        ),
        "resume": (
            "mlkit.cli.bpmn.run:resume",
            "Continue after a kill, or wait for the timers of instances that wait.",
        ),
        "mail": (
            "mlkit.cli.bpmn.mail:app",
            "Send mail about open tasks; list what was sent, and what failed.",
        ),
        "people": (
            "mlkit.cli.bpmn.absences:app",
            "Name substitutes for absences, choose one mail a day, check a people file.",
        ),
        "retry": (
            "mlkit.cli.bpmn.instances:retry",
            "Retry incidents, or begin a waiting attempt now, optionally with other limits.",
        ),
        "rerun": (
            "mlkit.cli.bpmn.run:rerun",
            "Run a new instance from a task, with the results of all tasks before it.",
        ),
        "migrate": (
            "mlkit.cli.bpmn.migrate:migrate",
            "Migrate a waiting instance to another version of its definition.",
        ),
        "suspend": (
            "mlkit.cli.bpmn.instances:suspend",
            "Suspend an instance: nothing of it starts until `unsuspend`.",
        ),
        "unsuspend": (
            "mlkit.cli.bpmn.instances:unsuspend",
            "Let a suspended instance continue, with everything that has arrived.",
        ),
        "cancel": ("mlkit.cli.bpmn.instances:cancel", "End an instance."),
        "check": (
            "mlkit.cli.bpmn.instances:check",
            "Check a state folder for damage; exits 1 if there is any.",
        ),
        "export": (
            "mlkit.cli.bpmn.transfer:export",
            "Export a journal with its stored values to a file, to move it.",
        ),
        "import": (
            "mlkit.cli.bpmn.transfer:import_",
            "Import an exported journal into an empty one, of SQLite or PostgreSQL.",
        ),
        "prune": (
            "mlkit.cli.bpmn.transfer:prune",
            "Remove instances that ended long ago, with logs and stored values.",
        ),
        "eval": (
            "mlkit.cli.bpmn.eval:evaluate",
            "Print the value of an expression, in FEEL's notation.",
        ),
        "decide": ("mlkit.cli.bpmn.decide:decide", "Evaluate a decision of a DMN model."),
    },
    shared=("state", "journal", "server"),
)
