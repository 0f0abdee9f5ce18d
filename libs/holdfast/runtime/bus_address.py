"""The bus's address as one process uses it: who it is, its password, and what a TLS connection trusts.

The address in the settings says where the bus is. Where `bus.acl` is on, a service connects as the user of its own name and a command
as `cli`, with the password in their folder; so one setting serves all, and no password stands in an environment. A wrong
certificate or name is refused by Python's `ssl`: there is no way to switch that off here.
"""

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.keys import PASSWORD, folder_of
from holdfast.runtime.secret_files import SecretRefused, read_secret
from holdfast.runtime.settings import Settings

TLS = "rediss"
_SWITCHED_OFF = {"none", "optional"}


def complete(url: str, settings: Settings, who: str) -> str:
    """*url* with user, password and certificates of *who*; as it is where there is nothing to add. Raises Terminal (78)."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    bus = settings.bus
    for key, value in (
        ("ssl_ca_certs", bus.tls_ca),
        ("ssl_certfile", bus.tls_cert),
        ("ssl_keyfile", bus.tls_key),
    ):
        if value:
            if parts.scheme != TLS:
                raise Terminal(
                    f"bus.tls_* is set, but the address is {parts.scheme}://: TLS needs {TLS}://", EXIT_CONFIG
                )
            query.setdefault(key, value)
    _check_tls(parts.scheme, query)
    user, password = _credentials(settings, who)
    place = parts.netloc
    if user and "@" not in place:
        place = f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"
    return urlunsplit((parts.scheme, place, parts.path, urlencode(query, safe="/"), parts.fragment))


def _check_tls(scheme: str, query: dict[str, str]) -> None:
    if scheme != TLS:
        return
    if query.get("ssl_cert_reqs", "required").lower() in _SWITCHED_OFF or query.get(
        "ssl_check_hostname", "true"
    ).lower() in {"false", "0", "no"}:
        raise Terminal(
            "the bus's certificate must be checked: take ssl_cert_reqs and ssl_check_hostname out of the address",
            EXIT_CONFIG,
        )
    for key in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if key in query and not Path(query[key]).is_file():
            raise Terminal(f"{key}: there is no file {query[key]}", EXIT_CONFIG)


def _credentials(settings: Settings, who: str) -> tuple[str, str]:
    bus = settings.bus
    try:
        if bus.acl:
            return who, read_secret(folder_of(settings, who) / PASSWORD)
    except SecretRefused as error:
        raise Terminal(
            f"the bus has users (bus.acl), and {who} has no password it may use: {error}", EXIT_CONFIG
        ) from None
    return (bus.user, bus.password.get_secret_value()) if bus.password.get_secret_value() else ("", "")
