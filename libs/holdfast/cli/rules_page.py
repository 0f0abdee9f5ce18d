"""Tables in docs/exits.md and docs/live.md, from the code: written by `make docs`, between two marks, and checked by a test."""

from collections.abc import Iterator

BEGIN, END = "<!-- rules: written by `make docs` -->", "<!-- rules: end -->"
EXCHANGES = "<!-- exchanges: written by `make docs` -->", "<!-- exchanges: end -->"


def rules_tables() -> str:
    """Both tables. The words are those of the functions and classes that decide."""
    return "\n".join([*_rules(), "", *_vetoes()]) + "\n"


def with_tables(text: str) -> str:
    """*text* with the tables between the marks. Raises ValueError where there are none."""
    return _between((BEGIN, END), text, rules_tables())


def with_exchanges(text: str) -> str:
    """*text* with the table of exchanges between its marks. Raises ValueError where there are none."""
    from holdfast.venues.capabilities import table

    return _between(EXCHANGES, text, "\n".join(table()) + "\n")


def _between(marks: tuple[str, str], text: str, table: str) -> str:
    head, begin, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    if not (begin and end):
        raise ValueError(f"no marks for the table: {marks[0]}")
    return f"{head}{marks[0]}\n\n{table}\n{marks[1]}{tail}"


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
