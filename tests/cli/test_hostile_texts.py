"""What others wrote reaches a terminal, a page, a log line and a table as text: nothing of it is carried out."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.cli.conftest import Shell

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egpj\u202c\x9b31m\x7f:warning:[bold]"
CARRIED_OUT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
KEYS = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x" * 32}


class _Refusing(BaseHTTPRequestHandler):
    """A provider that refuses every message, and says why in a hostile sentence."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(400, {"code": 21614, "message": f"no {EVIL} here", "more_info": EVIL, "status": 400})

    def do_GET(self) -> None:
        self._answer(404, {"code": 20404, "message": EVIL, "status": 404})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def hostile(sender: Shell, provider: str) -> Shell:
    """A campaign whose list, template, file names and provider are all hostile."""
    name = f"list{EVIL.replace('/', '')}.csv"
    rows = [f'"{EVIL}",+12025550101', f'"{EVIL}",{EVIL}', f'"=1+1{EVIL}",+12025550102', f'"{EVIL}",+12025550101']
    sender.write(name, f"name,phone,{EVIL}\n" + "".join(f"{row},{EVIL}\n" for row in rows))
    sender.write("evil.j2", "Hi {{ name }} " + EVIL)
    sender.write(
        "evil.yaml",
        json.dumps(
            {
                "name": "evil",
                "provider": "twilio",
                "rate": "none",
                "from": "+12025550150",
                "recipients": {"file": name, "default_region": "US", "phone_column": "phone"},
                "message": {"template": "evil.j2"},
            }
        ),
    )
    sender.env |= {**KEYS, "TWILIO_API_BASE": provider}
    return sender


COMMANDS = [
    ("plan", "evil.yaml"),
    ("plan", "evil.yaml", "--json"),
    ("plan", "evil.yaml", "--explain", "3"),
    ("plan", "evil.yaml", "--explain", "2", "--json"),
    ("preview", "evil.yaml"),
    ("preview", "evil.yaml", "--format", "jsonl"),
    ("preview", "evil.yaml", "--html", "page.html"),
    ("send", "evil.yaml", "--yes", "--wait", "0", "--log-format", "text"),
    ("send", "evil.yaml", "--again", "--yes", "--wait", "0", "--log-format", "json", "--debug"),
    ("send", "evil.yaml", "--again", "--yes", "--wait", "0", "--json"),
    ("status",),
    ("status", "evil"),
    ("status", "evil", "--json"),
    ("status", "evil", "--watch"),
    ("results", "evil"),
    ("results", "evil", "--format", "jsonl"),
    ("results", "evil", "--output", "out.xlsx"),
    ("results", "evil", "--with-body"),
    ("results", "evil", "--with-body", "--format", "jsonl"),
    ("history", "+12025550101"),
    ("history", "+12025550101", "--json"),
    ("report", "evil"),
    ("report", "evil", "--json"),
    ("report", "evil", "--html", "report.html"),
    ("suppress", "import", "{list}"),
    ("suppress", "list"),
    ("suppress", "export"),
    ("suppress", "export", "out.csv"),
    ("suppress", "export", "out.jsonl"),
]


def test_no_command_carries_out_a_text(hostile: Shell) -> None:
    [name] = [path.name for path in hostile.folder.glob("list*.csv")]
    for command in COMMANDS:
        done = hostile(*(part.format(list=name) for part in command))
        assert done.code in (0, 1), (command, done)
        for text in (done.out, done.err):
            assert not CARRIED_OUT.search(text), (command, text)
    shown = hostile("preview", "evil.yaml").out
    assert r"\x1b[2J\u202egpj\u202c\x9b31m\x7f:warning:[bold]" in re.sub(r"\s*│\s*", "", shown)
    assert "owned" in hostile("status", "evil").out
    files = [path for path in hostile.folder.iterdir() if path.suffix in (".html", ".csv", ".jsonl")]
    for file in (path for path in files if not path.name.startswith("list")):
        assert not CARRIED_OUT.search(file.read_text(encoding="utf-8").replace("\r\n", "\n")), file.name
    page = (hostile.folder / "page.html").read_text(encoding="utf-8")
    assert r"\u202egpj" in page


ERRORS = {
    "campaign key": ("{evil}: 1\nname: x", ("plan", "bad.yaml")),
    "campaign value": ("name: x\nprovider: '{evil}'", ("plan", "bad.yaml")),
    "yaml": ("name: [{evil}", ("plan", "bad.yaml")),
    "template": ("name: x\nprovider: sandbox\nmessage: {{body: '{{{{ {evil} }}}}'}}", ("plan", "bad.yaml")),
    "column": (
        "name: x\nprovider: sandbox\nrecipients: {{file: list.csv, phone_column: '{evil}'}}\nmessage: {{body: hi}}",
        ("plan", "bad.yaml"),
    ),
    "missing file": ("", ("plan", "{evil}.yaml")),
    "run": ("", ("status", "{evil}")),
    "command": ("", ("{evil}",)),
    "option": ("", ("plan", "--{evil}")),
    "choice": ("", ("results", "x", "--format", "{evil}")),
    "rate": ("", ("send", "list.csv", "--rate", "{evil}", "--provider", "sandbox")),
    "output": ("", ("schema", "--output", "{evil}/x")),
    "debug": ("name: x\nprovider: '{evil}'", ("plan", "bad.yaml", "--debug")),
    "json log": ("name: x\nprovider: '{evil}'", ("send", "bad.yaml", "--log-format", "json")),
}


@pytest.mark.parametrize("case", ERRORS)
def test_no_error_carries_out_a_text(sender: Shell, case: str) -> None:
    text, command = ERRORS[case]
    sender.people(1, "list.csv")
    sender.write("bad.yaml", text.format(evil=EVIL.replace("\x07", "").replace("\x7f", "")))
    done = sender(*(part.format(evil=EVIL) for part in command))
    assert done.code == 2, done
    assert not CARRIED_OUT.search(done.out + done.err), done


def test_a_file_name_that_is_no_text_is_shown(sender: Shell) -> None:
    done = sender("plan", "caf\udce9.yaml")
    assert done.code == 2, done
    assert r"caf\udce9.yaml" in done.err


def test_a_log_line_begins_no_other(sender: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider's sentence with line ends could otherwise write lines of its own into the log."""
    from sender.cli import terminal

    handler = terminal.log_handler(terminal.TextFormatter())
    record = logging.LogRecord("sender", logging.INFO, "x.py", 1, "refused: %s", ("a\n2026 INFO sent",), None)
    lines = handler.format(record).splitlines()
    assert lines[1] == "    2026 INFO sent"


def test_an_exceptions_note_is_shown() -> None:
    from sender.cli import terminal

    error = ValueError(EVIL)
    error.add_note(f"note {EVIL}")
    with redirect_stderr(io.StringIO()) as printed:
        terminal.write_traceback(error)
    assert "note \\x1b" in printed.getvalue()
    assert not CARRIED_OUT.search(printed.getvalue())


def printed(*values: object) -> str:
    """What the console prints of them on a stream that is no terminal."""
    from sender.cli import console

    with redirect_stdout(io.StringIO()) as stream:
        console.screen().print(*values)
    return stream.getvalue()


@pytest.mark.parametrize("value", [EVIL, Text(EVIL), Panel(EVIL), Panel(Text(EVIL), title=EVIL)], ids=range(4))
def test_whatever_is_printed_is_shown(value: object) -> None:
    text = printed(value)
    assert not CARRIED_OUT.search(text)
    assert r"\x1b]0;owned" in text


def test_a_table_is_as_wide_as_what_is_shown() -> None:
    """Measured after the codes have become text: the columns behind stay aligned."""
    table = Table(box=None)
    for name in ("name", "second"):
        table.add_column(name)
    table.add_row("Ada", "here")
    table.add_row("\x1b[2J\u202e", "here")
    head, *rows = printed(table).splitlines()
    assert {row.index("here") for row in rows} == {head.index("second")}
    assert r"\x1b[2J\u202e" in rows[-1], "whole"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_line_is_shown(form: str) -> None:
    from sender.cli import console

    logger = logging.getLogger("sender")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        with redirect_stderr(io.StringIO()) as stream:
            console.set_up_logs(debug=False, log_format=form)
            logger.info("the provider says %s", EVIL, extra={"event": "x", "reason": EVIL})
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    assert not CARRIED_OUT.search(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    if form == "json":
        assert json.loads(stream.getvalue())["reason"] == EVIL
