"""The installation's secret keys, which seal passwords."""

from __future__ import annotations

from db.encryption import Sealer
from service.key_file import KeyFile, make_key_file, parse_keys
from service.settings import Settings


def load_sealer(settings: Settings) -> Sealer:
    """Return the sealer with the installation's keys; an embedded one makes its first key at the first start.

    Keys in a file are read again when it changes; those of PRESTAGER_SECRET_KEY stay until the process ends.

    Raises:
        StartError: A key is not 32 bytes in base64, or the file cannot be read.
    """
    if settings.secret_key is not None:
        # A variable of the environment holds no line breaks in most places where it is set.
        text = settings.secret_key.get_secret_value().replace(",", " ")
        return Sealer(*parse_keys("\n".join(text.split()), "PRESTAGER_SECRET_KEY"))
    if settings.secret_key_file is None and not settings.key_path.exists():
        make_key_file(settings.key_path)
    file = KeyFile(settings.key_path)
    return Sealer(*file.read(), changed=file.changed)
