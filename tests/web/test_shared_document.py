"""A document that processes share: whole at any time, and kept when its writer dies."""

from __future__ import annotations

import os

from mlkit.web.shared_document import SharedDocument


def test_a_reader_sees_the_newest_document_and_none_before_the_first():
    document = SharedDocument(100)
    assert (document.read(), document.number) == (b"", 0)
    for number in range(1, 5):
        assert document.publish(b"x" * number)
        assert (document.read(), document.number) == (b"x" * number, number)
    assert document.publish(b"")
    assert document.read() == b""


def test_what_does_not_fit_leaves_the_document_of_before():
    document = SharedDocument(10)
    assert document.publish(b"0123456789")
    assert not document.publish(b"0123456789a")
    assert document.read() == b"0123456789"


def test_another_process_reads_whole_documents_while_they_change():
    document = SharedDocument(10_000)
    document.publish(b"\0" * 10_000)
    writer = os.fork()
    if writer == 0:
        for number in range(20_000):
            document.publish(bytes([number % 251]) * (1 + number % 10_000))
        os._exit(0)
    done = 0
    while not done:
        assert len(set(document.read())) <= 1
        done, status = os.waitpid(writer, os.WNOHANG)
    assert status == 0
    assert document.number == 20_001
