"""Examples of the review page."""

from __future__ import annotations

from pipelines.rationales.review_page import group_examples


def test_examples_show_every_rule_and_every_set():
    rows = [
        {"clip": f"{name}/{k}", "dataset": name, "accepted": not bad, "rejected_for": bad}
        for name in ("one", "two")
        for k, bad in enumerate(([], [], [], ["max_words"], ["label_equal", "max_words"]))
    ]
    groups = group_examples(rows)
    assert [group.title.split(":")[0] for group in groups] == ["Rejected", "Rejected", "Accepted", "Accepted"]
    assert [len(group.rows) for group in groups] == [2, 2, 2, 2]
    assert groups[0].rows[0]["rejected_for"][0] == "label_equal"
    assert groups == group_examples(rows[::-1])
