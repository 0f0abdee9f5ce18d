"""The tables of rules and vetoes in docs/exits.md, from the code: written by `make docs`, between two marks, and checked by a test."""

from collections.abc import Iterator

BEGIN, END = "<!-- rules: written by `make docs` -->", "<!-- rules: end -->"


def rules_tables() -> str:
    """Both tables. The words are those of the functions and classes that decide."""
    return "\n".join([*_rules(), "", *_vetoes()]) + "\n"


def with_tables(text: str) -> str:
    """*text* with the tables between the marks. Raises ValueError where there are none."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError("no marks for the tables of rules")
    return f"{head}{BEGIN}\n\n{rules_tables()}\n{END}{tail}"


def _rules() -> Iterator[str]:
    from holdfast.domain.exits import RULES

    yield "| | rule | hard | key | fires |"
    yield "|---|---|---|---|---|"
    for number, rule in enumerate(RULES, 1):
        said = " ".join((rule.trigger.__doc__ or "").split())
        key = f"`{rule.key}`" if rule.key else "the row's own"
        yield f"| {number} | `{rule.name}` | {'yes' if rule.hard else 'soft'} | {key} | {said} |"


def _vetoes() -> Iterator[str]:
    from holdfast.domain.vetoes import VETOES

    yield "| | veto | key | holds a soft exit back while there is |"
    yield "|---|---|---|---|"
    for number, veto in enumerate(VETOES, 1):
        said = " ".join((type(veto).__doc__ or "").split())
        yield f"| {number} | `{veto.name}` | `{veto.key}` | {said} |"
