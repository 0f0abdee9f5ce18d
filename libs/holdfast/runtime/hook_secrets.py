"""The secrets of hooks: one file each, KEYS/hooks/NAME.secret, mode 0600, made where it is missing and never made anew."""

from pathlib import Path

from holdfast.contracts.streams import HOOKS
from holdfast.runtime.keys import folder_of
from holdfast.runtime.secret_files import SecretRefused, new_password, read_secret, write_secret
from holdfast.runtime.settings import Settings


def secret_file(settings: Settings, hook: str) -> Path:
    """Where the secret of *hook* is."""
    return folder_of(settings, HOOKS) / f"{hook}.secret"


def hook_secret(settings: Settings, hook: str) -> str:
    """The secret of *hook*, made now where there is none. Raises SecretRefused."""
    file = secret_file(settings, hook)
    if not file.exists():
        try:
            write_secret(file, new_password())
        except OSError as error:
            why = f"{file} is not there, and cannot be made here ({error.strerror}); `holdfast hooks secret {hook}` makes it"
            raise SecretRefused(why) from None
    return read_secret(file)
