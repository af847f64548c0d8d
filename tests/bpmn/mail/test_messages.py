"""No name, subject or file makes a header, or a mail that is not one."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bpmn.mail.messages import Envelope, fill, header_text, message, sender
from mlkit.bpmn.mail.texts import Templates
from mlkit.bpmn.people.attachments import Document, file_name
from mlkit.bpmn.people.directory import Member
from mlkit.bpmn.people.tasks import Task
from mlkit.errors import ConfigurationError, InputMissing, UsageError

FROM = sender("mlkit <bot@mlkit.example>")
KNOWN = {
    "message-id", "date", "from", "to", "subject", "auto-submitted", "mime-version",
    "content-type", "content-transfer-encoding", "in-reply-to", "references",
}  # fmt: skip
TEXT = st.text(st.characters(codec=None), max_size=80) | st.sampled_from(
    ["a\r\nBcc: evil@x.org", "a\n\n<b>", "\udc80", "\u2028Bcc: e@x.org", "=?utf-8?q?=0ABcc:?="]
)


def envelope(name: str = "Ann") -> Envelope:
    return Envelope("<1@mlkit.example>", FROM, [Member("ann", name, "ann@x.org").address])


@settings(deadline=None, max_examples=60)
@given(TEXT, TEXT, TEXT)
def test_whatever_a_task_is_called_a_mail_has_its_headers_and_no_other(subject, text, file):
    made = message(envelope(), subject, text)
    made.add_attachment(b"x", "text", "plain", filename=header_text(file_name(file)))
    read = email.message_from_bytes(made.as_bytes(), policy=email.policy.SMTP)
    assert {name.lower() for name in read.keys()} <= KNOWN  # noqa: SIM118
    assert len(read["Subject"].splitlines()) <= 1
    assert read["To"].addresses[0].addr_spec == "ann@x.org"
    (attached,) = read.iter_attachments()
    assert attached.get_content_type() == "text/plain"
    assert set(attached.keys()) <= {
        "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "MIME-Version",
    }  # fmt: skip


def test_values_are_escaped_in_html():
    task = Task("ab", 1, "t", "<script>alert(1)</script>", "", "ann", [], [], 0.0)
    context = {
        "task": task, "person": Member("ann", "<b>Ann"), "process": "p", "key": "", "due": None,
        "asked_by": "", "instead_of": None, "values": [("<i>", "<img src=x>")], "attached": [],
        "linked": [], "missing": [Document("a", "a", problem="<u>")], "link": "", "signed": False,
        "expires": "",
    }  # fmt: skip
    made = fill("task", envelope(), context, Templates())
    html = made.get_body(("html",)).get_content()
    for each in ("<script>", "<b>Ann", "<i>", "<img src=x>", "<u>"):
        assert each not in html


def test_templates_of_a_folder_replace_those_of_the_package(tmp_path):
    (tmp_path / "task.subject.txt").write_text("{{ task.name }}!")
    templates = Templates(tmp_path)
    assert templates.fill("task.subject.txt", {"task": {"name": "Review"}}) == "Review!"
    with pytest.raises(ConfigurationError, match=r"mail template task\.subject\.txt"):
        templates.fill("task.subject.txt", {})


def test_a_broken_template_is_found_at_the_start(tmp_path):
    (tmp_path / "digest.html").write_text("{% for %}")
    with pytest.raises(ConfigurationError, match=r"digest\.html, line 1"):
        Templates(tmp_path)
    with pytest.raises(InputMissing):
        Templates(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "mlkit", "a@b\r\nBcc: c@d", "<>", "a b <c>"])
def test_a_sender_needs_an_address(text):
    with pytest.raises(UsageError):
        sender(text)


def test_the_name_of_a_sender_is_kept():
    assert sender("Älice <a@b.org>") == Address("Älice", addr_spec="a@b.org")
