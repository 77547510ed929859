"""What holds for every selector: its canonical text means the same, and what it matches follows from set theory."""

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.api.selectors import (
    FieldSelector,
    FieldTerm,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    format_field_selector,
    format_label_selector,
    parse_field_selector,
    parse_label_selector,
)
from proxy.api.status import BadRequest

KEYS = st.sampled_from(["a", "b", "in", "notin", "example.com/x"])
VALUES = st.sampled_from(["", "a", "b", "in", "notin", "5", "6"])
LABELS = st.dictionaries(KEYS, VALUES)
LABEL_TEXT = st.lists(
    st.sampled_from([*"ab!=,<>()5 \t", "==", "!=", " in ", " notin ", "in", "notin", "(a,b)", "()", "x/y"]), max_size=9
).map("".join)
FIELD_TEXT = st.lists(
    st.sampled_from(
        [*"abz=!,5é ", "a=5", "a==", "==", "!=", "\\\\", "\\,", "\\=", "metadata.name=", "metadata.name=="]
    ),
    max_size=9,
).map("".join)


@st.composite
def requirements(draw: st.DrawFn) -> LabelRequirement:
    operator = draw(st.sampled_from(LabelOperator))
    match operator:
        case LabelOperator.IN | LabelOperator.NOT_IN:
            values = tuple(sorted(draw(st.sets(VALUES, min_size=1))))
        case LabelOperator.GREATER_THAN | LabelOperator.LESS_THAN:
            values = (draw(st.sampled_from(["4", "5", "6"])),)
        case _:
            values = ()
    return LabelRequirement(draw(KEYS), operator, values)


LABEL_SELECTORS = st.sets(requirements(), max_size=4).map(lambda found: LabelSelector(tuple(sorted(found))))


@given(LABEL_SELECTORS)
def test_a_label_selector_survives_its_text(selector: LabelSelector) -> None:
    assert parse_label_selector(format_label_selector(selector)) == selector


@given(LABEL_TEXT)
@example("x in (foo,,baz),y,z notin ()")
def test_canonical_label_text_is_a_fixed_point(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except BadRequest:
        return
    canonical = format_label_selector(selector)
    assert parse_label_selector(canonical) == selector
    assert format_label_selector(parse_label_selector(canonical)) == canonical


@given(LABEL_SELECTORS, LABELS)
def test_a_label_selector_matches_what_each_of_its_requirements_matches(
    selector: LabelSelector, labels: dict[str, str]
) -> None:
    def holds(requirement: LabelRequirement) -> bool:
        value = labels.get(requirement.key)
        digit = value if value in ("5", "6") else None
        return {
            LabelOperator.IN: value in requirement.values,
            LabelOperator.NOT_IN: value not in requirement.values,
            LabelOperator.EXISTS: requirement.key in labels,
            LabelOperator.DOES_NOT_EXIST: requirement.key not in labels,
            LabelOperator.GREATER_THAN: digit is not None and digit > "".join(requirement.values),
            LabelOperator.LESS_THAN: digit is not None and digit < "".join(requirement.values),
        }[requirement.operator]

    assert selector.matches(labels) == all(map(holds, selector.requirements))


@given(KEYS, st.sets(VALUES, min_size=1), LABELS)
def test_in_and_notin_are_complements(key: str, values: set[str], labels: dict[str, str]) -> None:
    ordered = tuple(sorted(values))
    inside = LabelRequirement(key, LabelOperator.IN, ordered).matches(labels)
    assert LabelRequirement(key, LabelOperator.NOT_IN, ordered).matches(labels) is not inside


@given(FIELD_TEXT)
@example("metadata.name==z,metadata.name=c")
@example("a=5,a==a,a!=\\=")
@example("metadata.name=1,metadata.name==")
@example("a=1,a=2,a==")
def test_canonical_field_text_keeps_the_terms_and_their_order(text: str) -> None:
    """The first equality on a path names the object that is authorized, so order is meaning."""
    try:
        selector = parse_field_selector(text)
    except BadRequest:
        return
    assert parse_field_selector(format_field_selector(selector)) == selector


@given(st.text("ab\\,=!é ", max_size=6), st.booleans())
def test_any_value_can_be_selected_by_escaping_it(value: str, negated: bool) -> None:
    selector = FieldSelector((FieldTerm("status.phase", negated, value),))
    assert parse_field_selector(format_field_selector(selector)) == selector


@given(FIELD_TEXT, st.dictionaries(st.sampled_from(["a", "b", "metadata.name"]), st.sampled_from(["", "a", "b", "z"])))
def test_a_policy_selector_never_matches_more_than_a_clients(text: str, fields: dict[str, str]) -> None:
    """An absent field reads as empty for a client, and matches nothing for a policy."""
    try:
        selector = parse_field_selector(text)
    except BadRequest:
        return
    as_client = selector.matches(lambda path: fields.get(path, ""))
    as_policy = selector.matches_present(fields.get)
    assert as_policy <= as_client
    if all(term.path in fields for term in selector.terms):
        assert as_policy == as_client
    else:
        assert not as_policy
