"""Which label lists are taken, and why others are not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelpod_common import labels
from labelpod_common.labels import Label


def test_every_name_is_a_segment_of_its_own_and_the_class_says_what_it_is():
    first, second, vessel = labels.parse("nodule1:1,nodule2:1,vessel:2")
    assert (first, second) == (Label("nodule1", 1, 1), Label("nodule2", 2, 1))
    assert vessel == Label("vessel", 3, 2)


def test_in_a_list_of_names_alone_the_class_is_the_position():
    assert labels.parse("lung, nodule") == (Label("lung", 1, 1), Label("nodule", 2, 2))


def test_names_with_and_without_a_class_go_together():
    assert [label.class_id for label in labels.parse("a:7,b,c:1")] == [7, 2, 1]


def test_blanks_around_names_and_classes_do_not_count():
    assert labels.parse("  left lobe : 1 ,\tright lobe:2 ") == labels.parse("left lobe:1,right lobe:2")


@pytest.mark.parametrize("name", ["a", "0", "GGO (part-solid)", "a.b_c+d", "x" * 64])
def test_names_that_slicer_can_show_are_taken(name):
    assert labels.parse(name)[0].name == name


def test_the_default_list_is_a_good_one():
    assert [label.value for label in labels.parse(labels.DEFAULT)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the label list is empty"),
        (" , ,", "the label list is empty"),
        ("a,,b", "entry 2 has no name"),
        ("a,", "entry 2 has no name"),
        (":1", "entry 1 has no name"),
        ("a:1,b:1,a:2", "the name 'a' stands there twice"),
        ("Nodule,nodule", "the name 'nodule' stands there twice"),
        ("background", "'background' is reserved"),
        ("a,Background:1", "'Background' is reserved"),
        ("scribbles", "'scribbles' is reserved"),
        ("a:0", "the class of 'a' must be a whole number from 1, not '0'"),
        ("a:-1", "not '-1'"),
        ("a:1.5", "not '1.5'"),
        ("a:one", "not 'one'"),
        ("a:", "not ''"),
        ("a:1:2", "not '2'"),
        ("a:\u0661", "not '\u0661'"),
        ("a:²", "not '²'"),
        ("nódulo", "'nódulo' must start with a letter or digit"),
        ("-a", "'-a' must start with"),
        ("a/b", "'a/b' must start with"),
        ("a;b", "'a;b' must start with"),
        ("a=b", "'a=b' must start with"),
        ("<b>", "'<b>' must start with"),
        ("a$(id)", r"'a$(id)' must start with"),
        ('a"', "'a\"' must start with"),
        ("a\nb", r"'a\nb' must start with"),
        ("x" * 65, "64 at most"),
        (",".join(f"n{number}" for number in range(101)), "101 labels are more than 100"),
    ],
)
def test_a_bad_list_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError) as caught:
        labels.parse(text)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_hundred_labels_are_not_too_many():
    assert labels.parse(",".join(f"n{number}" for number in range(100)))[-1].value == 100


near_misses = st.text(alphabet="aB1 :,.-_\u0663²$\"'\n\\", max_size=30)
lists = st.lists(st.from_regex(r"[a-z]{1,3}(:[1-9])?", fullmatch=True), min_size=1, max_size=8).map(",".join)


@given(st.text() | near_misses | lists)
@example("a:" + "9" * 5000)
def test_any_text_is_a_label_list_or_one_line_of_reason(text):
    try:
        found = labels.parse(text)
    except ValueError as error:
        assert str(error) and len(str(error).splitlines()) == 1
    else:
        assert [label.value for label in found] == list(range(1, len(found) + 1))
        assert len({label.name.lower() for label in found}) == len(found) == text.count(",") + 1
        assert all(label.class_id >= 1 for label in found)


@given(lists)
def test_a_list_that_was_read_reads_the_same_when_written_out(text):
    try:
        found = labels.parse(text)
    except ValueError:
        return
    assert labels.parse(",".join(f"{label.name}:{label.class_id}" for label in found)) == found
