"""A strategy to be killed: `python -m tests.integration._strategy URL FILE COUNT`, one line on standard input for each life.

It buys and closes COUNT times and writes each result to FILE as soon as it knows it. It remembers nothing else: where FILE ends, it
goes on. A life is a fork of this process, so that a hundred of them do not import everything a hundred times.
"""

import json
import os
import signal
import sys
from pathlib import Path

from holdfast.client import Client

SYMBOL = "BTC/USDT"


def live(url: str, file: Path, count: int) -> None:
    """From where the file ends to the end."""
    client = Client(url, name="mortal")
    while (done := len(file.read_text().splitlines())) < 2 * count:
        number, is_close = divmod(done, 2)
        if is_close:
            result = client.close(SYMBOL, key=f"close-{number}").wait(60)
        else:
            result = client.buy(SYMBOL, "0.1", key=f"buy-{number}").wait(60)
        line = {"id": result.intent_id, "status": result.status.value, "order": result.order_id}
        with file.open("a") as log:
            log.write(json.dumps(line) + "\n")  # one write: a line is there, or it is not


def main() -> None:
    url, file, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live(url, file, count)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
