"""Values of a subcloud's fields that a JSON Schema alone cannot validate, and the words for wrong ones."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any, Final

from messages.connection_variables import read_callers_variables
from messages.errors import ConnectionVariableError
from messages.limits import TEXT_LENGTH
from messages.requests.base import truncate_for_error, validation_error
from messages.secret_names import secret_names
from messages.site_addresses import REFUSED, is_reserved_host_name, is_site_address, reserved_name_text
from statemachine.releases import is_release
from statemachine.selector import key_fault, value_fault

_CONNECTION_BYTES: Final = 16_384

NO_NAME: Final = "name required"
_BAD_NAME: Final = "name must have at most 255 letters, digits, dots, dashes and underscores"
_NAME_WITHOUT_LETTERS: Final = "name must contain alphabetic characters"
NO_TEXT: Final = f"Invalid {{key}}: give a text of at most {TEXT_LENGTH} characters"
NO_ADDRESS: Final = "Invalid {key}: {value} is not an IP address"
NO_ADDRESS_OR_NETWORK: Final = "Invalid {key}: {value} is not an IP address or network"
REFUSED_ADDRESS: Final = f"Invalid {{key}}: {REFUSED}"
NO_RELEASE: Final = "Invalid {key}: give the version as MM.mm, such as 22.12"
NOT_SERVED: Final = "Invalid option: {key}: Prestager does not serve it; dcmanager's own API does"
NO_LABELS: Final = "Invalid labels: give a JSON object of keys and values, both texts; null removes a label"
NO_CONNECTION: Final = "Invalid connection: give a JSON object of Ansible variables"


def labels(value: dict[str, Any] | str) -> dict[str, str | None]:
    """Return a change of labels, given as an object or as the JSON text of one; None removes a label."""
    found = _parsed_object(value)
    if found is None:
        raise validation_error(NO_LABELS)
    change = {key: _label_value(key, value) for key, value in found.items()}
    fault = next(filter(None, map(key_fault, change)), None)
    if fault is not None:
        raise validation_error(f"Invalid labels: {fault}")
    return change


def _parsed_object(value: dict[str, Any] | str) -> dict[str, Any] | None:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _label_value(key: str, value: Any) -> str | None:
    # YAML makes a number of a text that looks like one; of others it loses the spelling.
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return None if value is None else str(value)
    if not isinstance(value, str):
        raise validation_error(f"Invalid labels: the value of {truncate_for_error(key)} is no text; write it in quotes")
    fault = value_fault(value)
    if fault is not None:
        raise validation_error(f"Invalid labels: {truncate_for_error(key)}: {fault}")
    return value


def name_text(value: Any) -> str:
    """Return the words for a name that is not allowed."""
    if not value:
        return NO_NAME
    if not isinstance(value, str) or not any(char.isalpha() for char in value):
        return _NAME_WITHOUT_LETTERS
    return _BAD_NAME


def name(value: str) -> str:
    """Return a name: it becomes part of paths on the controller and of the inventory."""
    if not any(char.isalpha() for char in value):
        raise validation_error(_NAME_WITHOUT_LETTERS)
    if not all(char.isalnum() or char in "._-" for char in value) or value[0] in ".-":
        raise validation_error(_BAD_NAME)
    if is_reserved_host_name(value):
        raise validation_error(reserved_name_text(value))
    return value


def text(value: str | float) -> str:
    """Return a text, or a number as one."""
    if len(str(value)) > TEXT_LENGTH:
        raise validation_error(NO_TEXT)
    return str(value)


def host(value: str) -> str:
    """Return an address as it was written."""
    return _checked(value, ip_address)


def network(value: str) -> str:
    """Return a network as it was written; bits of a host in it do not matter."""
    return _checked(value, lambda written: ip_network(written, strict=False))


def site_host(value: str) -> str:
    """Return an address of a site as it was written; this machine's own are not allowed."""
    return _elsewhere(host(value))


def first_site_address(value: str) -> str:
    """Return an OAM address that a caller may set; see `first_address`."""
    return _elsewhere(first_address(value))


def first_address(value: str) -> str:
    """Return an OAM address; one per stack may be given, separated by commas, and the first is the primary."""
    written = value.split(",", maxsplit=1)[0].strip()
    try:
        return str(ip_address(written))
    except ValueError:
        raise validation_error(NO_ADDRESS, truncate_for_error(written) or "''") from None


def release(value: str | float) -> str:
    """Return a version, which YAML may have made a number of."""
    if not is_release(str(value)):
        raise validation_error(NO_RELEASE)
    return str(value)


def connection(value: dict[str, Any] | str) -> dict[str, Any]:
    """Return the connection variables of a caller, in the form in which they are kept.

    A secret among them is an error, for they are kept and shown; so is a variable that only the import may bring.
    """
    variables = _mapping(value)
    secret = next((place.rpartition(".")[2] for place in secret_names(variables)), None)
    if secret is not None:
        raise validation_error(
            "Invalid connection: {value} looks like a secret; passwords come with each prestage command",
            truncate_for_error(secret),
        )
    try:
        return read_callers_variables(variables)
    except ConnectionVariableError as error:
        # Without a value the error would show the whole field.
        error_of_variable = validation_error(
            f"Invalid connection: {{value}} {error.reason}", truncate_for_error(error.variable) or "''"
        )
    raise error_of_variable


def imported_connection(value: dict[str, Any]) -> dict[str, Any]:
    """Return the connection variables of the operator's import: any, but for secrets, which the import leaves out."""
    variables = _named(value)
    size = _size(variables)
    if size > _CONNECTION_BYTES:
        largest = max(variables, key=lambda name: _size(variables[name]))
        raise validation_error(
            f"Its variables for Ansible take {size:,} bytes, and at most {_CONNECTION_BYTES:,} are kept; the largest is"
            f" {{value}} with {_size(variables[largest]):,} bytes. Leave it out, or have playbooks read it from a file",
            truncate_for_error(largest),
        )
    return variables


def _mapping(value: dict[str, Any] | str) -> dict[str, Any]:
    variables = _parsed_object(value)
    if variables is None or _size(variables) > _CONNECTION_BYTES:
        raise validation_error(f"{NO_CONNECTION}, at most 16 KiB")
    return _named(variables)


def _named(value: dict[str, Any]) -> dict[str, Any]:
    return {str(key): given for key, given in value.items()}


def _size(value: Any) -> int:
    """Return how many bytes a value takes in the database."""
    return len(json.dumps(value))


def _elsewhere(address: str) -> str:
    if not is_site_address(address):
        raise validation_error(REFUSED_ADDRESS)
    return address


def _checked(value: str, parse: Any) -> str:
    try:
        parse(value)
    except ValueError:
        raise validation_error(NO_ADDRESS_OR_NETWORK) from None
    return value
