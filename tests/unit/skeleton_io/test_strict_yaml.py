"""The one YAML loader: what YAML passes over in silence is refused in one line, and what is written is read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skeleton_io.strict_yaml import dump, parse


@pytest.mark.parametrize("kind", [{}, {"aliases": True}, {"packaged": True}], ids=["strict", "aliases", "packaged"])
def test_a_key_given_twice_is_refused_with_its_place(kind: dict) -> None:
    with pytest.raises(ValueError, match=r"^key 'b' is given twice \(line 2, column 4\)$"):
        parse("a: 1\nc: {b: 1, b: 2}\n", **kind)
    with pytest.raises(ValueError, match=r"^key 'train' is given twice \(line 1, column 1\)$"):
        parse("train: {}\nname: x\ntrain: {}\n", **kind)
    assert parse("a: {b: 1}\nc: {b: 2}\n", **kind) == {"a": {"b": 1}, "c": {"b": 2}}
    assert parse("1: a\n'1': b\n", **kind) == {1: "a", "1": "b"}


def test_aliases_only_where_a_caller_wants_them() -> None:
    text = "a: &x [1, 2]\nb: *x\n"
    with pytest.raises(ValueError, match=r"aliases \(\*name\) are not supported \(line 2, column 4\)"):
        parse(text)
    assert parse(text, aliases=True) == {"a": [1, 2], "b": [1, 2]}
    assert parse("a: &x {c: 1}\nb: {<<: *x, d: 2}\n", aliases=True)["b"] == {"c": 1, "d": 2}


def test_aliases_may_not_multiply_a_small_file() -> None:
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    for number in range(1, 30):
        lines.append(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]")
    with pytest.raises(ValueError, match="its aliases stand for more than 100000 values"):
        parse("\n".join(lines), aliases=True)
    with pytest.raises(ValueError, match="more than 100000 values"):
        parse("&a [*a]", aliases=True)
    assert len(parse("\n".join(lines[:3]), aliases=True)["a2"]) == 10


@pytest.mark.parametrize("kind", [{}, {"aliases": True}, {"packaged": True}], ids=["strict", "aliases", "packaged"])
def test_exponents_are_numbers(kind: dict) -> None:
    values = parse("[1e-4, 1E5, -2.5e+3, .5, 1., .inf, 12, 1e, v1e4, '1e-4']", **kind)
    assert values == [1e-4, 1e5, -2500.0, 0.5, 1.0, math.inf, 12, "1e", "v1e4", "1e-4"]
    assert [type(value) for value in values[:2]] == [float, float]


def test_what_is_no_yaml_is_said_in_one_short_line() -> None:
    for text, message in (
        (b"a: \xff", r"^not UTF-8 text: byte 3$"),
        ("a: [", r"\(line 1, column 5\)$"),
        ("a: b: c", r"mapping values are not allowed here \(line 1, column 5\)"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: \x00", "special characters are not allowed"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            parse(text)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("aliases", [False, True])
def test_nesting_without_end_is_an_error_and_no_crash(aliases: bool) -> None:
    with pytest.raises(ValueError, match=r"^nested too deep$"):
        parse("[" * 20_000 + "]" * 20_000, aliases=aliases)
    with pytest.raises(ValueError, match=r"^nested too deep$"):
        parse("{a: " * 20_000 + "1" + "}" * 20_000, aliases=aliases)


def test_nothing_is_none() -> None:
    assert parse("") is parse("# only a comment\n") is parse(b"") is None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
@example({"1e4": "0E0"})
def test_what_is_written_is_read_back(data: object) -> None:
    assert parse(dump(data)) == data


def test_written_in_the_given_order_without_aliases() -> None:
    shared = [1, 2]
    text = dump({"z": shared, "a": shared, "ü": 1e-05})
    assert "&" not in text
    assert list(parse(text)) == ["z", "a", "ü"]
    assert "ü" in text
