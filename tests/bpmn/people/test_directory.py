"""Who people are, whom a task is for, and who stands in for whom."""

from __future__ import annotations

import pytest

from mlkit.bpmn.people import recipients
from mlkit.bpmn.people.directory import Directory, Member, PeopleFile, read_people
from mlkit.bpmn.people.tasks import Task
from mlkit.errors import BadData, InputMissing, UsageError

ANN = Member("ann", "Ann", "ann@x.org", frozenset({"owners"}))
BOB = Member("bob", "Bob", "bob@x.org", frozenset({"owners", "night"}))
CEM = Member("cem", "Cem")
PEOPLE = Directory([ANN, BOB, CEM])


def task(assignee=None, users=(), groups=()) -> Task:
    return Task("ab", 1, "t", "T", "", assignee, list(users), list(groups), 0.0)


def asked(wanted: Task, substitutes=None, digests=None) -> list[str]:
    found = recipients.recipients(wanted, PEOPLE, substitutes or {}, digests or {})
    return sorted(each.member.id for each in found)


@pytest.mark.parametrize(
    ("wanted", "people"),
    [
        (task("ann", ["bob"], ["night"]), ["ann"]),
        (task(None, ["ann", "bob", "ann"], ["owners"]), ["ann", "bob"]),
        (task(None, ["BOB@x.org"]), ["bob"]),
        (task("eve@y.org"), ["eve@y.org"]),
        (task("nobody"), []),
        (task("no body@y.org"), []),
        (task(), []),
    ],
)
def test_the_assignee_is_asked_else_the_candidates_each_once(wanted, people):
    assert asked(wanted) == people


@pytest.mark.parametrize(
    ("substitutes", "people"),
    [
        ({"ann": "bob"}, ["bob"]),
        ({"ann": "bob", "bob": "cem"}, ["cem"]),
        ({"ann": "bob", "bob": "ann"}, ["ann"]),
        ({"ann": "zoe"}, ["zoe"]),
    ],
)
def test_substitutes_are_asked_and_circles_of_them_leave_it_where_it_is(substitutes, people):
    assert asked(task("ann"), substitutes) == people


def test_a_substitute_may_do_what_the_absent_may_and_nobody_else():
    away = {"ann": "cem"}
    assert recipients.may_do(task("ann"), "cem", PEOPLE, away)
    assert recipients.may_do(task("ann"), "ann", PEOPLE, away)
    assert not recipients.may_do(task("ann"), "bob", PEOPLE, away)
    assert not recipients.may_do(task("bob"), "cem", PEOPLE, away)
    assert recipients.may_do(task(groups=["night"]), "bob", PEOPLE, {})
    assert not recipients.may_do(task(groups=["night"]), "ann", PEOPLE, {})
    assert recipients.may_do(task(), "anybody", PEOPLE, {})


def test_what_somebody_chose_goes_before_what_the_file_says():
    (found,) = recipients.recipients(task("ann"), PEOPLE, {}, {"ann": True})
    assert found.daily


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[people]]\nid = 'a'\nmail = 'x'", "person 1: unknown key 'mail'"),
        ("[[people]]\nid = 'a'\n[[people]]\nid = 'a'", "person 2: id 'a' appears twice"),
        ("[[people]]\nid = 'a b'", "person 1: id 'a b'"),
        ("[[people]]\nname = 'a'", "person 1: id ''"),
        ("[[people]]\nid = 'a'\nemail = 'x'", "person 1: email 'x' is not an address"),
        ('[[people]]\nid = "a"\nemail = "x@y\\nBcc: z@y"', "person 1: email"),
        ("[[people]]\nid = 'a'\ngroups = 'x'", "person 1: groups is not a list"),
        ("[[people]]\nid = 'a'\ndigest = 'yes'", "person 1: digest"),
        ("people = 3", "`people` is not an array"),
        ("[staff]", "unknown table 'staff'"),
        ("[[people]\n", "line 1"),
    ],
)
def test_what_is_wrong_with_a_people_file_is_said_with_its_place(tmp_path, text, problem):
    path = tmp_path / "people.toml"
    path.write_text(text)
    with pytest.raises(BadData) as caught:
        read_people(path)
    assert problem in caught.value.message
    assert str(path) in caught.value.message


def test_a_people_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing(
    tmp_path, caplog
):
    path = tmp_path / "people.toml"
    path.write_text("[[people]]\nid = 'ann'\n")
    file = PeopleFile(path)
    path.write_text("[[people]]\nid = 'ann'\n[[people]]\nid = 'bob'\n")
    assert set(file.directory.members) == {"ann", "bob"}
    path.write_text("[[people]]\nid = \n")
    assert set(file.directory.members) == {"ann", "bob"}
    assert "people.toml" in file.problem.message
    assert file.problem.message in caplog.text  # An operator who looks at the log learns of it.
    path.unlink()
    assert set(file.directory.members) == {"ann", "bob"}
    path.write_text("[[people]]\nid = 'cem'\n")
    assert set(file.directory.members) == {"cem"}
    assert file.problem is None


def test_a_people_file_must_be_there_at_first(tmp_path):
    with pytest.raises(InputMissing):
        PeopleFile(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "absence", [("a", "a", 1, 2), ("a", "", 1, 2), ("a", "b", 2, 1), ("a", "b", -2, -1)]
)
def test_absences_that_make_no_sense_are_refused(absence):
    with pytest.raises(UsageError):
        recipients.require_absence(*absence, now=0)


def test_absences_are_kept_after_they_ended(mlkit, tmp_path):
    state = ("--state", tmp_path / "s")
    (tmp_path / "d.bpmn").write_text(
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p"'
        ' isExecutable="true"><startEvent id="s"/></process></definitions>'
    )
    mlkit("bpmn", "run", tmp_path / "d.bpmn", *state)
    away = ("bpmn", "people", "away", "ann", "--to", "bob", "--until", "2999-12-31")
    assert mlkit(*away, "--as", "ann", *state).returncode == 0
    assert mlkit("bpmn", "people", "back", "1", "--as", "cem", *state).returncode == 0
    assert mlkit("bpmn", "people", "back", "1", *state).returncode == 2
    listed = mlkit("bpmn", "people", "absences", *state).stdout
    assert "ann -> bob" in listed
    assert "ended by cem" in listed


class Chosen:
    """What a journal holds of absences and digests, some of it under addresses."""

    def now(self, at):
        return {"ANN@x.org": "bob@x.org"}

    def digests(self):
        return {"bob@x.org": True, "ann": False, "ann@x.org": True}


def test_what_was_chosen_under_an_address_is_of_its_person():
    assert recipients.find_substitutes(Chosen(), PEOPLE, 0) == {"ann": "bob"}
    assert recipients.find_digests(Chosen(), PEOPLE) == {"bob": True, "ann": False}


@pytest.mark.parametrize(
    ("wanted", "person", "substitutes", "may"),
    [
        (task("Ann@X.org"), "ann", {}, True),
        (task("ann"), "ANN@x.org", {}, True),
        (task("ann@x.org"), "cem", {"ann": "cem"}, True),
        (task(None, ["ann@x.org"]), "ann", {}, True),
        (task(None, ["ann@x.org"]), "bob", {}, False),
        (task("ann@x.org"), "bob", {}, False),
    ],
)
def test_somebody_is_the_same_by_id_and_by_address(wanted, person, substitutes, may):
    assert recipients.may_claim(wanted, person, PEOPLE, substitutes) == may
    assert recipients.may_do(wanted, PEOPLE.id_of(person), PEOPLE, substitutes) == may


def test_an_address_that_several_people_have_is_of_none():
    shared = [Member(each, each, email) for each, email in (("a", "t@x.org"), ("b", "T@x.org"))]
    people = Directory([*shared, ANN])
    assert people.id_of("t@x.org") == "t@x.org"
    assert not people.may_do(task("t@x.org"), "a")
    assert [each.email for each in people.recipients(task("t@x.org"))] == ["t@x.org"]
    assert (people.id_of("a"), people.id_of("ANN@x.org")) == ("a", "ann")
