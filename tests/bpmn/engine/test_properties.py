"""Laws that hold for every structured diagram: tokens are neither lost nor made from nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Block = tuple  # ("task",) or (kind, [blocks])

BLOCKS = st.recursive(
    st.sampled_from([("task",), ("script",), ("user",)]),
    lambda inner: st.tuples(
        st.sampled_from(["sequence", "parallel", "exclusive", "inclusive", "inside", "loop"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=9,
)
LAWS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass
class Writer:
    """Writes blocks as a diagram, and counts how often each task must run."""

    arrows: object
    number: int = 0
    expected: Counter = field(default_factory=Counter)

    def id(self) -> str:
        self.number += 1
        return f"n{self.number}"

    def write(self, block, times):
        """Return body, flows, entry and exit of a block."""
        kind = block[0]
        if kind in ("task", "script", "user"):
            name = self.id()
            self.expected[name] += times
            source = "<script>pass</script>" if kind == "script" else ""
            tag = {"task": "task", "script": "scriptTask", "user": "userTask"}[kind]
            return f'<{tag} id="{name}">{source}</{tag}>', [], name, name
        return getattr(self, kind)(block[1], times)

    def sequence(self, blocks, times):
        parts = [self.write(each, times) for each in blocks]
        flows = [flow for part in parts for flow in part[1]]
        flows += [f"{a[3]}>{b[2]}" for a, b in pairwise(parts)]
        return "".join(part[0] for part in parts), flows, parts[0][2], parts[-1][3]

    def parallel(self, blocks, times):
        return self.gateway("parallelGateway", blocks, [times] * len(blocks), [""] * len(blocks))

    def exclusive(self, blocks, times):
        taken = [times if at == 0 else 0 for at in range(len(blocks))]
        return self.gateway("exclusiveGateway", blocks, taken, ["?True"] * len(blocks))

    def inclusive(self, blocks, times):
        taken = [times if at % 2 == 0 else 0 for at in range(len(blocks))]
        holds = ["?True" if at % 2 == 0 else "?False" for at in range(len(blocks))]
        return self.gateway("inclusiveGateway", blocks, taken, holds)

    def gateway(self, kind, blocks, times, conditions):
        split, join = self.id(), self.id()
        parts = [self.write(each, times[at]) for at, each in enumerate(blocks)]
        flows = [flow for part in parts for flow in part[1]]
        flows += [f"{split}>{part[2]}{c}" for part, c in zip(parts, conditions, strict=True)]
        flows += [f"{part[3]}>{join}" for part in parts]
        gates = f'<{kind} id="{split}"/><{kind} id="{join}"/>'
        return gates + "".join(part[0] for part in parts), flows, split, join

    def inside(self, blocks, times):
        body, flows, entry, _ = self.sequence(blocks, times)
        start, name = self.id(), self.id()
        drawn = self.arrows(" ".join([*flows, f"{start}>{entry}"]), name)
        inner = f'<startEvent id="{start}"/>{body}{drawn}'
        self.expected[name] += times
        return f'<subProcess id="{name}">{inner}</subProcess>', [], name, name

    def loop(self, blocks, times):
        name = self.id()
        self.expected[name] += times * 3 if times else 0
        loop = "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
        body = f'<task id="{name}">{loop}</multiInstanceLoopCharacteristics></task>'
        return body, [], name, name


@given(block=BLOCKS, order=st.randoms(use_true_random=False))
@LAWS
def test_tokens_are_kept_ends_are_reached_and_replay_is_exact(play, arrows, as_json, block, order):
    from mlkit.bpmn.engine.events import Complete

    writer = Writer(arrows)
    body, flows, entry, leaving = writer.write(block, 1)
    body = f'<startEvent id="s"/><endEvent id="e"/>{body}'
    done = play(body, " ".join([*flows, f"s>{entry}", f"{leaving}>e"]), lambda *_: None)
    states = [as_json(done.state)]
    done.start()
    states.append(as_json(done.state))
    while done.state.status == "running":
        check_counts(done.state)
        open_ = [
            a.id for a in done.state.activations.values() if a.status in ("working", "waiting")
        ]
        assert open_, "tokens are stuck"
        done.apply(Complete(order.choice(open_), {"x": len(done.journal)}))
        states.append(as_json(done.state))
    counts = Counter(done.completed())
    assert done.state.status == "completed"
    assert counts["e"] == 1
    for name, times in writer.expected.items():
        assert counts[name] == times, name
    assert not done.state.activations
    assert len(done.state.scopes) == 1
    # Whatever beginning of the journal a crash leaves: replay gives the state that was there.
    for events, known in enumerate(states):
        again = done.replayed(events)
        check_counts(again)
        assert as_json(again) == known
    assert len(states) == len(done.journal) + 1


def check_counts(state):
    """Every scope knows how many tokens it holds."""
    for scope in state.scopes.values():
        holders = [a for a in state.activations.values() if a.scope == scope.id and not a.role]
        body = not scope.parent or any(a.body == scope.id for a in state.activations.values())
        if body:
            assert scope.live == len(holders) + sum(scope.arrived.values())


@given(block=BLOCKS, cut=st.integers(0, 30), order=st.randoms(use_true_random=False))
@LAWS
def test_a_state_that_went_through_json_goes_on_the_same_way(
    play, arrows, as_json, block, cut, order
):
    import msgspec

    from mlkit.bpmn.engine.events import Complete
    from mlkit.bpmn.engine.state import State

    writer = Writer(arrows)
    body, flows, entry, leaving = writer.write(block, 1)
    body = f'<startEvent id="s"/><endEvent id="e"/>{body}'
    done = play(body, " ".join([*flows, f"s>{entry}", f"{leaving}>e"]), lambda *_: None).start()
    moves = 0
    while done.state.status == "running":
        if moves == cut:
            done.state = msgspec.json.decode(msgspec.json.encode(done.state), type=State)
        open_ = [
            a.id for a in done.state.activations.values() if a.status in ("working", "waiting")
        ]
        done.apply(Complete(order.choice(open_), {}))
        moves += 1
    assert as_json(done.replayed()) == as_json(done.state)
