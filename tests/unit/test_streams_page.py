"""docs/streams.md says what the code says, and explains every code and every field that the code explains."""

from pathlib import Path

from typer.testing import CliRunner

from holdfast.cli.docs import page
from holdfast.cli.main import app
from holdfast.contracts.codes import Code
from holdfast.contracts.streams import STREAMS

PAGE = Path(__file__).parents[2] / "docs" / "streams.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_page_has_every_stream_message_and_code():
    text = page()
    for stream in STREAMS:
        assert f"| `{stream.name}` |" in text
        assert f"### {stream.message.__name__}\n" in text
    for code in Code:
        assert f"| `{code.value}` |" in text


def test_sentences_below_fields_are_on_the_page():
    assert (
        "In contracts of the instrument; on spot, units of the base currency. More than is held closes what is held."
        in page()
    )
    assert "INV-1: the book holds, or has in flight, the other side." in page()


def test_the_page_is_written_and_checked(tmp_path):
    out, run = tmp_path / "docs" / "streams.md", CliRunner().invoke
    assert run(app, ["docs", "--check", "--out", str(out)]).exit_code == 1
    assert run(app, ["docs", "--out", str(out)]).exit_code == 0
    assert run(app, ["docs", "--check", "--out", str(out)]).exit_code == 0
    out.write_text(out.read_text() + "more")
    assert run(app, ["docs", "--check", "--out", str(out)]).exit_code == 1
