"""Addresses of each site's Keystone, sysinv and USM: at its first management address, or as the operator's file says.

The file belongs to the operator, and not to callers of the API: the password of the account goes to a URL of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from messages.errors import TomlError
from messages.parse_errors import read_toml
from sites.errors import InspectionError
from sites.sysinv.access import Address

_KEYS = frozenset({"keystone", "sysinv"})
# May be left out: USM is not asked there then.
_USM = "usm"


class SiteAddresses:
    """Finds the URLs of sites; the file is read again when it has changed.

    Its tables are named like the sites, each with `keystone` (with the version), `sysinv` and perhaps `usm` (without):

        [edge-17]
        keystone = "https://10.1.2.3:5001/v3"
        sysinv = "https://10.1.2.3:6386"
        usm = "https://10.1.2.3:5498"
    """

    def __init__(
        self,
        *,
        keystone_port: int = 5001,
        sysinv_port: int = 6386,
        usm_port: int = 5498,
        file: Path | None = None,
    ) -> None:
        self._keystone_port = keystone_port
        self._sysinv_port = sysinv_port
        self._usm_port = usm_port
        self._file = file
        self._read: tuple[tuple[int, int], Mapping[str, Address]] | None = None

    def find(self, name: str, management_address: str | None) -> Address | None:
        """Return the URLs of a site; None when nothing is known of it.

        Raises:
            InspectionError: The file cannot be read, or is not of its form.
        """
        own = self.from_file().get(name)
        if own is not None:
            return own
        if not management_address:
            return None
        host = f"[{management_address}]" if ":" in management_address else management_address
        return Address(
            keystone_url=f"https://{host}:{self._keystone_port}/v3",
            service_url=f"https://{host}:{self._sysinv_port}",
            usm_url=f"https://{host}:{self._usm_port}",
        )

    def from_file(self) -> Mapping[str, Address]:
        """Return the sites of the file.

        Raises:
            InspectionError: It cannot be read, or is not of its form.
        """
        if self._file is None:
            return {}
        try:
            status = self._file.stat()
            signature = (status.st_ino, status.st_mtime_ns)
            if self._read is None or self._read[0] != signature:
                self._read = (signature, _parse(self._file.read_text(encoding="utf-8")))
        except OSError as error:
            raise InspectionError(f"The URLs of sites cannot be read from {self._file}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise InspectionError(f"{self._file}, the URLs of sites, is not a text file in UTF-8.") from None
        except TomlError as error:
            raise InspectionError(f"The URLs of sites in {self._file} are not TOML: {error}.") from None
        except ValueError as error:
            raise InspectionError(f"The URLs of sites in {self._file} are not usable: {error}") from None
        return self._read[1]


def _parse(text: str) -> Mapping[str, Address]:
    return {name: _address(name, values) for name, values in read_toml(text).items()}


def _address(name: str, values: Any) -> Address:
    if not isinstance(values, dict) or set(values) - {_USM} != _KEYS:
        raise ValueError(f"the table {name} must have keystone and sysinv, may have usm, and nothing else.")
    for key, url in values.items():
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ValueError(f"{key} of {name} must be a URL such as https://10.1.2.3:5001/v3.")
    urls = {key: url.rstrip("/") for key, url in values.items()}
    return Address(keystone_url=urls["keystone"], service_url=urls["sysinv"], usm_url=urls.get(_USM))
