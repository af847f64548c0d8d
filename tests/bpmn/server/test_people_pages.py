"""People in a browser: from a mail to a decision, forms with every field, who comes too late."""

# ruff: noqa: F811 - fixtures are imported
from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from bpmn.conftest import diagram
from bpmn.mail.conftest import PEOPLE, MailServer
from bpmn.server.conftest import Server
from browser import axe, chromium, look, page  # noqa: F401 - fixtures
from ports import free_port

from mlkit.bpmn.runtime.session import Session

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api").expect

SHOWCASE = Path(__file__).parents[3] / "examples" / "bpmn" / "showcase"
READONLY = '<camunda:validation><camunda:constraint name="readonly"/></camunda:validation>'
REQUIRED = READONLY.replace("readonly", "required")
AT_LEAST_3 = READONLY.replace('name="readonly"', 'name="min" config="3"')
COLOURS = '<camunda:value id="red" name="Red"/><camunda:value id="blue" name="Blue &lt;b&gt;"/>'
SIZES = "".join(f'<camunda:value id="s{n}" name="Size {n}"/>' for n in range(9))
FIELDS = "".join(
    f'<camunda:formField id="{name}" label="{label}" type="{kind}">{inner}</camunda:formField>'
    for name, label, kind, inner in (
        ("shown", "Shown", "string", READONLY),
        ("text", "Text", "string", REQUIRED),
        ("count", "Count", "long", AT_LEAST_3),
        ("rate", "Rate", "double", ""),
        ("day", "Day", "date", ""),
        ("colour", "Colour", "enum", COLOURS),
        ("size", "Size", "enum", SIZES),
        ("yes", "Agreed?", "boolean", ""),
        ("no", "Urgent?", "boolean", ""),
        ("data", "Data file", "file", ""),
    )
)
FULL = diagram(
    '<startEvent id="s"/><userTask id="t" name="Fill &lt;script>alert(1)&lt;/script>"'
    f' camunda:assignee="ann"><extensionElements><camunda:formData>{FIELDS}'
    "</camunda:formData></extensionElements></userTask>"
    '<scriptTask id="w" scriptFormat="python"><script>length = len(data); called = data.name'
    '</script></scriptTask><endEvent id="e"/>',
    "s>t t>w w>e",
)
APPROVAL = diagram(
    '<startEvent id="s"/><userTask id="t" name="Release it?" camunda:candidateGroups="owners"/>'
    '<endEvent id="e"/>',
    "s>t t>e",
)


@pytest.fixture(scope="module")
def mailbox():
    from aiosmtpd.controller import Controller

    server = MailServer(free_port())
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    yield server
    controller.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory, mailbox):
    folder = tmp_path_factory.mktemp("people")
    (folder / "people.toml").write_text(PEOPLE)
    options = ("--people", "people.toml", "--smtp", f"smtp://127.0.0.1:{mailbox.port}")
    made = Server(folder, *options)
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143


def begin(server: Server, xml: str, *variables: str) -> str:
    """Start an instance beside the server; return its id when it waits."""
    path = server.folder / "diagram.bpmn"
    path.write_text(xml)
    options = [part for each in variables for part in ("--var", each)]
    done = server.mlkit("run", path, *options)
    assert done.returncode == 3, done.stderr
    return done.stdout.split()[0]


def link(server: Server, mailbox: MailServer, recipient: str, instance: str) -> str:
    """Return the link of a mail, once it is there."""

    def found() -> str | None:
        for to, mail in mailbox.mails:
            if to == recipient and instance in mail["Message-ID"]:
                text = mail.get_body(("plain",)).get_content()
                return re.search(rf"{re.escape(server.url)}/links/\S+", text)[0]
        return None

    return server.wait(found)


def state(server: Server, instance: str) -> str:
    return server.mlkit("list").stdout.partition(instance)[2].splitlines()[0]


def test_the_showcase_is_approved_from_the_mail(server, mailbox, page, axe):
    shutil.copytree(SHOWCASE, server.folder / "showcase")
    path = server.folder / "showcase" / "pipeline.bpmn"
    text = path.read_text().replace("camunda:assignee=", 'camunda:attach="model" camunda:assignee=')
    path.write_text(text)
    variables = ("--var", "owner=ann", "--var", "source=clicks.csv")
    instance = server.mlkit("run", path, *variables).stdout.split()[0]
    url = link(server, mailbox, "ann@example.org", instance)
    for _ in range(2):  # What looks at mails may open its links as often as it likes.
        assert server("GET", url.removeprefix(server.url)).status_code == 200
    page.goto(url)
    expect(page.get_by_role("heading", name="Approval from owner")).to_be_visible()
    expect(page.get_by_text("Accuracy on held-back rows")).to_be_visible()
    picture = page.locator(".diagram img")
    expect(picture).to_be_visible()
    assert picture.evaluate("each => each.naturalWidth") > 100
    look(page, axe, "approval")
    page.get_by_label("Comment").fill("good enough")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading")).to_have_text("This task is done")
    expect(page.get_by_text("ann has completed it")).to_be_visible()
    look(page, axe, "decided")
    server.wait(lambda: "completed" in state(server, instance))
    history = server.mlkit("history", instance).stdout
    assert "Deploy model" in history


def test_a_form_with_every_field_says_what_is_wrong_and_keeps_what_is_filled_in(
    server, mailbox, page, axe
):
    instance = begin(server, FULL, "shown=<img src=x onerror=alert(1)>")
    page.goto(link(server, mailbox, "ann@example.org", instance))
    expect(page.get_by_role("heading", level=1)).to_have_text("Fill <script>alert(1)</script>")
    expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    page.get_by_label("Count").fill("2")
    page.get_by_label("Rate").fill("half")
    page.get_by_label("Day").fill("2026-02-03")
    page.get_by_label("Blue <b>").check()
    page.get_by_label("Size").select_option("s4")
    page.get_by_label("Agreed?").check()
    page.get_by_label("Data file").set_input_files(
        {"name": "däta.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"}
    )
    page.get_by_role("button", name="Complete").click()
    summary = page.get_by_role("alert")
    expect(summary).to_contain_text("Text: is required")
    expect(summary).to_contain_text("Count: less than min 3")
    expect(summary).to_contain_text("'half' is not a double")
    expect(summary).to_be_focused()
    expect(page.get_by_label("Rate")).to_have_value("half")
    expect(page.get_by_label("Day")).to_have_value("2026-02-03")
    expect(page.get_by_label("Blue <b>")).to_be_checked()
    expect(page.get_by_label("Size")).to_have_value("s4")
    expect(page.get_by_label("däta.csv")).to_be_checked()
    look(page, axe, "form")
    page.get_by_label("Text").fill("words")
    page.get_by_label("Count").fill("3")
    page.get_by_label("Rate").fill("0.5")
    page.keyboard.press("Enter")  # Sends nothing that cannot be undone.
    expect(page.get_by_label("Text")).to_have_value("words")
    page.get_by_role("button", name="Complete").click()
    expect(page.get_by_text("ann has completed it")).to_be_visible()
    server.wait(lambda: "completed" in state(server, instance))
    shown = server.mlkit("show", instance, "--json").stdout
    for each in ('"count": 3', '"rate": 0.5', '"$date": "2026-02-03"', '"colour": "blue"',
                 '"size": "s4"', '"yes": true', '"no": false', '"length": 8'):  # fmt: skip
        assert each in shown


def test_of_two_who_decide_at_once_one_wins_and_the_other_is_told(
    server, mailbox, page, chromium, axe
):
    instance = begin(server, APPROVAL)
    first = page
    first.goto(link(server, mailbox, "ann@example.org", instance))
    second = chromium.new_context().new_page()
    second.goto(link(server, mailbox, "bob@example.org", instance))
    expect(second.get_by_role("button", name="Reject")).to_be_visible()
    first.get_by_role("button", name="Approve").click()
    expect(first.get_by_text("ann has completed it")).to_be_visible()
    second.get_by_role("button", name="Reject").click()
    expect(second.get_by_role("heading")).to_have_text("This task is done")
    expect(second.get_by_text("ann has completed it")).to_be_visible()
    assert '"approved": true' in server.mlkit("show", instance, "--json").stdout
    second.context.close()


def test_a_link_is_for_its_person_and_cannot_be_made_up(server, mailbox):
    instance = begin(server, APPROVAL)
    path = link(server, mailbox, "ann@example.org", instance).removeprefix(server.url)
    assert server("GET", path[:-1]).status_code == 403
    assert server("GET", "/links/x").status_code == 403
    # A form that was not on the page of this link is another site's.
    bobs = link(server, mailbox, "bob@example.org", instance).removeprefix(server.url)
    token = re.search(r'name="form_token" value="([^"]+)"', server("GET", bobs).text)[1]
    for each in (token, "", "x"):
        sent = {"form_token": each, "action": "approve"}
        foreign = server("POST", path, data=sent)
        assert (foreign.status_code, "the form is not" in foreign.text) == (422, True)
    server.mlkit("claim", f"{instance}/t", "--as", "bob")
    refused = server("GET", path)
    assert refused.status_code == 403
    assert "Bob" in refused.text
    answer = server("POST", bobs, data={"form_token": token, "action": "reject"})
    assert "bob has completed it" in answer.text
    again = server("POST", bobs, data={"form_token": token, "action": "approve"})
    # He himself was first: nobody else.
    assert (again.status_code, "This task is done" in again.text) == (409, True)


def test_tasks_are_listed_found_claimed_and_done(server, page, axe):
    import getpass

    instance = begin(server, APPROVAL.replace("Release it?", "Sort the letters"))
    page.goto(f"{server.url}/tasks?show=all&find=letters")
    expect(page.get_by_role("link", name="Sort the letters")).to_be_visible()
    look(page, axe, "tasks")
    page.get_by_role("button", name=re.compile(f"Claim.*{instance}")).click()
    expect(page.get_by_role("button", name="Release it")).to_be_visible()
    page.goto(f"{server.url}/tasks")
    page.get_by_role("link", name="Sort the letters").click()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Your task is done.")).to_be_visible()
    assert getpass.getuser() in server.mlkit("history", instance).stdout
    page.goto(f"{server.url}/tasks?show=none")
    expect(page.get_by_role("heading")).to_have_text("That did not work")


def test_a_task_shows_whom_no_mail_reaches(server, mailbox, page, axe):
    unknown = begin(server, APPROVAL.replace('candidateGroups="owners"', 'assignee="z&lt;e"'))
    known = begin(server, APPROVAL)
    link(server, mailbox, "ann@example.org", known)
    named = {unknown: ["z<e"], known: []}
    listed = server("GET", "/api/v1/tasks").json()["tasks"]
    assert {e["instance"]: e["without_mail"] for e in listed if e["instance"] in named} == named
    one = next(each["task"] for each in listed if each["instance"] == unknown)
    assert server("GET", f"/api/v1/tasks/{one}").json()["without_mail"] == ["z<e"]
    page.goto(f"{server.url}/tasks?show=all")
    expect(page.get_by_text("No mail reaches")).to_have_count(1)
    page.goto(f"{server.url}/tasks/{one}")
    expect(page.get_by_text("No mail reaches z<e: not in the people file")).to_be_visible()
    look(page, axe, "unreached")
    server.wait(lambda: "no mail reaches z<e" in server.log.read_text())


def test_absence_and_digest_are_chosen_on_a_page(server, page, axe):
    page.goto(f"{server.url}/me")
    page.get_by_role("button", name="Name a substitute").click()
    expect(page.get_by_role("alert")).to_contain_text("a day such as 2026-12-31 is needed")
    page.get_by_label("Substitute").select_option("bob")
    page.get_by_label("Until").fill("2999-12-31")
    page.get_by_role("button", name="Name a substitute").click()
    expect(page.get_by_role("status")).to_have_text("This is kept.")
    expect(page.get_by_text("bob stands in for")).to_be_visible()
    look(page, axe, "me")
    page.get_by_role("button", name="End now").click()
    expect(page.get_by_text("ended by")).to_be_visible()
    page.get_by_role("button", name="One mail a day").click()
    expect(page.get_by_text("You get one mail a day.")).to_be_visible()


def test_a_task_that_sends_mail_leaves_it_to_the_outbox(server, mailbox):
    text = diagram(
        '<startEvent id="s"/><userTask id="t" camunda:assignee="ann"/>'
        '<sendTask id="m" camunda:class="mlkit.bpmn.mail:send"><extensionElements>'
        "<camunda:inputOutput>"
        '<camunda:inputParameter name="mail_to">eve@example.org</camunda:inputParameter>'
        '<camunda:inputParameter name="mail_subject">Late</camunda:inputParameter>'
        '<camunda:inputParameter name="mail_text">Please hurry.</camunda:inputParameter>'
        "</camunda:inputOutput></extensionElements></sendTask>"
        '<boundaryEvent id="b" attachedToRef="t" cancelActivity="false"><timerEventDefinition>'
        "<timeDuration>PT1S</timeDuration></timerEventDefinition></boundaryEvent>"
        '<endEvent id="e"/>',
        "s>t t>e b>m",
    )
    path = server.folder / "reminded.bpmn"
    path.write_text(text)
    with Session(server.state) as session:  # The server runs it: it has something to do.
        instance = session.begin(path, {}).id
    mail = server.wait(
        lambda: next((mail for to, mail in mailbox.mails if to == "eve@example.org"), None)
    )
    assert mail["Subject"] == "Late"
    assert f"send.{instance}." in mail["Message-ID"]
    assert mail["In-Reply-To"] == f"<instance.{instance}@localhost>"
