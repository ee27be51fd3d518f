"""The notes of a reading count, give examples, and survive JSON."""

import json

from gwaudit.data.reading_notes import Contradiction, ReadingNotes


def test_notes_survive_json():
    notes = ReadingNotes(contradictions=[Contradiction(["a", "b"], ["cat", "dog"])])
    notes.use_columns("labels", ["label"])
    notes.leave_out_columns("unnamed", ["Unnamed: 0"])
    notes.pass_over("unknown suffix", [f"{i}.heic" for i in range(9)])
    notes.measure_sizes([(30, 40), (10, 90), (20, 50)])
    notes.warn("All images are black.")
    again = ReadingNotes.from_dict(json.loads(json.dumps(notes.to_dict())))
    assert again == notes
    assert again.image_sizes == [(10, 40), (20, 50), (30, 90)]
    assert again.files_passed_over["unknown suffix"].count == 9
    assert len(again.files_passed_over["unknown suffix"].examples) == 5


def test_a_note_is_recorded_once():
    notes = ReadingNotes()
    notes.warn("twice")
    notes.warn("twice")
    notes.remark("twice")
    notes.remark("twice")
    notes.pass_over("nothing", [])
    assert (notes.warnings, notes.remarks, notes.files_passed_over) == (["twice"], ["twice"], {})


def test_notes_of_another_version_are_read_without_what_is_unknown():
    assert ReadingNotes.from_dict({"remarks": ["x"], "later": 1}) == ReadingNotes(remarks=["x"])
