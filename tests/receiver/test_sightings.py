"""When an alert of which nobody tells has ended: by what each Alertmanager process lists, and by nothing else."""

import pytest

from incident_operator.receiver.alertmanager import Sighting
from incident_operator.receiver.index import Listed, Sightings, silenced

SILENCED, FIRES = Sighting(suppressed=True, silenced_by=("s-1",)), Sighting(suppressed=False)
INHIBITED = Sighting(suppressed=True)
A, B = "a", "b"


def played(*rounds: dict[str, Sighting | None] | None) -> list[bool]:
    """Play rounds in which each process lists the alert, or does not (None); a round of None is one without an answer of one of them."""
    seen, ended = Sightings(), []
    for each in rounds:
        told = each or {}
        lists = [Listed(name, {"x": sighting} if sighting else {}) for name, sighting in told.items()]
        ended.append("x" in seen.note(lists, {"x"}, complete=each is not None))
    return ended


@pytest.mark.parametrize(
    ("sentence", "rounds", "ended"),
    [
        ("it is missing in two later lists", [{A: SILENCED}, {A: None}, {A: None}], [False, False, True]),
        ("one that is inhibited or muted ends so too", [{A: INHIBITED}, {A: None}, {A: None}], [False, False, True]),
        ("one that was never seen never ends", [{A: None}] * 5, [False] * 5),
        ("one that fires is told of, so it does not end here", [{A: FIRES}, {A: None}, {A: None}], [False] * 3),
        ("what was silenced and fires then is told of", [{A: SILENCED}, {A: FIRES}, {A: None}, {A: None}], [False] * 4),
        ("one that comes back is counted anew",
         [{A: SILENCED}, {A: None}, {A: SILENCED}, {A: None}, {A: None}], [False] * 4 + [True]),
        ("a process that is started again starts anew", [{A: SILENCED}, {A: None}, {"a2": None}, {"a2": None}, {"a2": None}], [False] * 5),
        ("a peer that never heard of it says nothing", [{A: SILENCED, B: None}, {A: SILENCED, B: None}, {A: SILENCED, B: None}], [False] * 3),
        ("nor does it keep it from ending", [{A: SILENCED, B: None}, {A: None, B: None}, {A: None, B: None}], [False, False, True]),
        ("all that had it must miss it",
         [{A: SILENCED, B: SILENCED}, {A: None, B: SILENCED}, {A: None, B: SILENCED}, {A: None, B: None}, {A: None, B: None}],
         [False] * 4 + [True]),
        ("while one does not answer nothing ends", [{A: SILENCED}, {A: None}, None, None, {A: None}], [False] * 4 + [True]),
        ("a process that is gone says nothing any more", [{A: SILENCED, B: SILENCED}, {B: None}, {B: None}], [False, False, True]),
        ("nor does the last one that had it", [{A: SILENCED}, {B: None}, {B: None}, {B: None}], [False] * 4),
        ("it has ended until that is stored", [{A: SILENCED}, {A: None}, {A: None}, {A: None}], [False, False, True, True]),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)  # fmt: skip
def test_an_alert_ends_where_every_process_that_had_it_misses_it_twice(sentence, rounds, ended):
    assert played(*rounds) == ended, sentence


def test_what_is_not_looked_for_is_not_remembered():
    seen = Sightings()
    seen.note([Listed(A, {f"{number}": SILENCED for number in range(5000)})], {"7"}, complete=True)
    assert sum(len(known) for known in seen._seen.values()) == 1
    seen.note([Listed(A, {"7": SILENCED})], set(), complete=True)
    assert sum(len(known) for known in seen._seen.values()) == 0


@pytest.mark.parametrize(
    ("lists", "found"),
    [
        ([{"x": SILENCED}, {}], ("s-1",)),
        ([{"x": SILENCED}, {"x": Sighting(suppressed=True, silenced_by=("s-2",))}], ("s-1", "s-2")),
        ([{"x": SILENCED}, {"x": FIRES}], ()),
        ([{"x": INHIBITED}], ()),
        ([{}], ()),
    ],
    ids=["one peer has it", "both", "one will tell of it", "inhibited", "nobody has it"],
)
def test_an_alert_is_silenced_where_nobody_who_has_it_will_tell_of_it(lists, found):
    assert silenced([Listed(str(number), each) for number, each in enumerate(lists)], "x") == found
