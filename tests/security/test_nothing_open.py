"""Nothing but the two doors and the simulated venue listens: no web framework, no FastStream page with a form that publishes to the real bus, no debugger."""

import ast
import re

import pytest
from faststream.redis import RedisBroker

from tests.architecture._tree import called, modules, tree

DOORS = ("services/dashboard/", "services/hooks/", "libs/venue_sim/")
"""They are attacked in tests of their own; the last is a tool for tests, on loopback."""
SOURCE = [name for name in modules("libs", "services") if not name.startswith(DOORS)]
SERVERS = re.compile(
    r"^(uvicorn|hypercorn|fastapi|starlette|aiohttp|flask|faststream\.(asgi|specification|confluent)|http\.server|socketserver|xmlrpc|pdb|code|pickle|marshal|shelve)(\.|$)"
)
LISTENING = re.compile(
    r"(^|\.)(as_asgi|AsgiFastStream|make_ping_asgi|make_asyncapi_asgi|AsyncAPIRoute|start_server|start_unix_server|create_server|listen|eval|exec|compile)$"
)


@pytest.mark.parametrize("name", SOURCE)
def test_no_module_serves_pages_or_runs_what_it_is_sent(name):
    imported = {
        alias.name for node in ast.walk(tree(name)) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {node.module or "" for node in ast.walk(tree(name)) if isinstance(node, ast.ImportFrom)}
    assert [module for module in imported if SERVERS.match(module)] == []
    assert [
        call
        for _, call in called(tree(name))
        if LISTENING.search(call) and call not in {"re.compile", "typer.main.compile"}
    ] == []


def test_the_broker_that_is_used_has_no_routes():
    """FastStream's broker is a client of Redis; only an application made of it would listen, and there is none here."""
    assert not hasattr(RedisBroker("redis://127.0.0.1:1/0"), "routes")
