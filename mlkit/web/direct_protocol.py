"""The protocol of a connection that answers usual requests without ASGI.

A request to a direct operation is held until its body is complete. Then the operation answers it,
or it goes to the application as if it had come just now; so does what it held when anything
unusual happens before.

Clients send the same head again and again. Where one request answered directly came in one piece,
what the parser found in its head is remembered, and the same bytes in the same place are not parsed
again: it would find the same.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from mlkit.web.direct import END_OF_HEAD, DirectAnswers, DirectOperation
from mlkit.web.protocol import COMPLETE, HEAD, LimitedProtocol, Refusal

_MOST_HELD = 64 << 10


class DirectProtocol(LimitedProtocol):
    """HTTP/1.1 within limits, with direct answers.

    Args:
        direct: The operations that may answer.
        limited: What `LimitedProtocol` takes.
    """

    def __init__(self, *, direct: DirectAnswers, **limited: Any) -> None:
        super().__init__(**limited)
        self._direct = direct
        self._operation: DirectOperation | None = None
        self._held = b""
        self._piece = b""
        self._is_declined = False
        self._arrival = 0.0
        self._answered = 0.0

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._phase is not COMPLETE:
            # Bytes of a request that came before are part of what the parser finds.
            self._piece = data if self._phase is HEAD and not self._raw_bytes else b""
            super().data_received(data)
        elif not self._answers_known(data):
            self._piece = data
            super().data_received(data)

    def _answers_known(self, data: bytes) -> bool:
        """Answer what came if it is one whole request with a known head, and nothing was before."""
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        known = self._direct.known(data[:end])
        if known is None or len(data) != end + known.length or not self._is_free():
            return False
        if self.timeout_keep_alive_task is not None or not known.operation.admits(known.headers):
            return False
        answer = known.operation.answer(data[end:], perf_counter())
        if answer is None:
            self._is_declined = True
            return False
        self._since = self._answered = self._clock.now
        state = self.server_state
        state.total_requests += 1
        self._write_now(self._direct.whole(state.default_headers, answer))
        return True

    def _is_free(self) -> bool:
        """Return whether nothing is being answered, and an answer can be sent."""
        return not (self._is_answering() or self.flow.write_paused or self.transport.is_closing())

    def _start(self) -> None:
        operation = None if self._is_declined else self._direct.operation(self.url)
        self._is_declined = False
        if operation is not None and self._is_usual() and operation.accepts(self.headers):
            self._operation = operation
            self._arrival = perf_counter()
        else:
            super()._start()

    def _is_usual(self) -> bool:
        """Return whether a request waits for no other, and asks for nothing but an answer."""
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and self._is_free()
        )

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if self._operation is None:
            super().on_body(body)
            return
        self._body_bytes += len(body)
        self._held = self._held + body if self._held else body
        if self._body_bytes > _MOST_HELD:
            self._hand_over()

    def on_message_complete(self) -> None:
        """End a request."""
        operation = self._operation
        if operation is not None:
            answer = operation.answer(self._held, self._arrival)
            if answer is not None:
                if self._piece:
                    self._direct.learn(self._piece, operation, self.headers, self._held)
                self._finish(answer)
                return
            self._hand_over()
        super().on_message_complete()

    def _finish(self, answer: bytes) -> None:
        self._operation, self._held, self._piece = None, b"", b""
        self._phase = COMPLETE
        self._answered = self._clock.now
        state = self.server_state
        state.total_requests += 1
        self.transport.write(self._direct.whole(state.default_headers, answer))

    def _hand_over(self) -> None:
        """Let the application answer what is held, and take the rest."""
        held, self._held, self._operation, self._piece = self._held, b"", None, b""
        super()._start()
        if held:
            self._body_bytes -= len(held)
            super().on_body(held)

    # What may happen while a request is held

    def _refuse(self, refusal: Refusal) -> None:
        if self._operation is not None:
            self._hand_over()
        super()._refuse(refusal)

    def shutdown(self) -> None:
        """Finish the request in flight, and close."""
        if self._operation is not None:
            self._hand_over()
        super().shutdown()

    def sweep(self) -> None:
        """Cut off what takes too long, and a connection that is idle."""
        super().sweep()
        # After answers of the application uvicorn has a timer, which would cost more here.
        is_idle = self._phase is COMPLETE and self.timeout_keep_alive_task is None
        age = self._clock.now - self._answered
        if is_idle and age > self._limits.idle_seconds and not self._is_answering():
            self.transport.close()
