"""Modules as Ansible sends them to sites, built once and shared by the runs that are forked from one template.

Building one takes a seventh of a second: it is packed with everything that it imports. Another run takes it only while
all is the same that it can have been made of, by content: the module, and each file that could be packed with it.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

# Names that Ansible gives to files of built modules (ansible.executor.module_common).
_CACHE: Final = "ansiballz_cache"
_UNFINISHED: Final = (".lock", "-part")
_COLLECTIONS: Final = "ansible_collections"
# The path of a collection's module.
_OF_COLLECTION: Final = re.compile(rf"(?P<root>.*/(?P<name>{_COLLECTIONS}/[^/]+/[^/]+))/plugins/modules/")
# With more files beside modules than these nothing is shared: building is quicker than reading all of them.
_MOST_FILES: Final = 500


def share_modules(place: Path, local_tmp: Path) -> None:
    """Have this run take modules from `place`, and put those there that it builds; call it before the playbook begins.

    Args:
        place: Directory of the template process; made, with mode 0700, when there is a module to keep.

        local_tmp: Directory in which Ansible looks for modules that it has built in this run.
    """
    from ansible.executor import module_common  # noqa: PLC0415

    build = module_common._find_module_utils  # noqa: SLF001
    module_common._find_module_utils = _sharing(build, place, local_tmp / _CACHE)  # noqa: SLF001


def _sharing(build: Callable[..., Any], place: Path, own: Path) -> Callable[..., Any]:
    @wraps(build)
    def take_or_build(**order: Any) -> Any:
        path, content = order["module_path"], order["b_module_data"]
        sources = _sources(path, content)
        if sources is None:
            return build(**order)
        shared = place / sources
        with suppress(OSError):
            own.mkdir(mode=0o700, exist_ok=True)
            _link(shared, own, _names(shared))
        known = _names(own)
        built = build(**order)
        new = [name for name in _names(own) - known if _packs_known(own / name, path)]
        # A file that was exchanged meanwhile may be in it as it was, or as it is.
        if new and _sources(path, content) == sources:
            with suppress(OSError):
                for directory in (place, shared):
                    directory.mkdir(mode=0o700, exist_ok=True)
                _link(own, shared, new)
        return built

    return take_or_build


def _sources(path: str, content: bytes) -> str | None:
    """Return a digest of all that a module can be made of; None: it is not shared."""
    digest = sha256(f"{path} {len(content)} ".encode("utf-8", "surrogateescape") + content)
    try:
        for number, file in enumerate(_files_beside(path)):
            if number >= _MOST_FILES:
                return None
            found = file.read_bytes() if file.is_file() else b""
            digest.update(f"{file} {len(found)} ".encode("utf-8", "surrogateescape") + found)
    except OSError:
        return None
    return digest.hexdigest()


def _files_beside(path: str) -> Iterator[Path]:
    """Yield the files that could be packed with a module, in the order in which they are looked for; Ansible's never.

    Of collections beside a playbook also the directories, for one that appears may have what an import did not find.
    """
    import ansible  # noqa: PLC0415
    from ansible.plugins.loader import module_utils_loader  # noqa: PLC0415
    from ansible.utils.collection_loader import AnsibleCollectionConfig  # noqa: PLC0415

    home = Path(ansible.__file__).parent
    for place in map(Path, module_utils_loader.print_paths().split(os.pathsep)):
        if not place.is_relative_to(home):
            yield from _python_files(place)
    for beside in AnsibleCollectionConfig.playbook_paths:
        yield from sorted(Path(beside, _COLLECTIONS).glob("*/*"))
    if own := _OF_COLLECTION.match(path):
        yield Path(own["root"], "meta", "runtime.yml")
        yield from _python_files(Path(own["root"], "plugins", "module_utils"))


def _python_files(directory: Path) -> Iterator[Path]:
    for place, names, files in os.walk(directory, followlinks=True):
        names.sort()
        yield from (Path(place, name) for name in sorted(files) if name.endswith(".py"))


def _packs_known(built: Path, path: str) -> bool:
    """Return whether a built module holds nothing of another collection than its own."""
    from ansible.executor.module_common import _CachedModule  # noqa: PLC0415

    try:
        with ZipFile(BytesIO(b64decode(_CachedModule.load(str(built)).zip_data))) as packed:
            names = [name for name in packed.namelist() if name.startswith(f"{_COLLECTIONS}/")]
    except (OSError, ValueError, BadZipFile):
        return False
    own = _OF_COLLECTION.match(path)
    if own is None:
        return not names
    root = f"{own['name']}/"
    # The packages above the collection are there too, as empty files.
    return all(name.startswith(root) or root.startswith(name.removesuffix("__init__.py")) for name in names)


def _names(directory: Path) -> set[str]:
    with suppress(OSError):
        return {name for name in os.listdir(directory) if not name.endswith(_UNFINISHED)}  # noqa: PTH208
    return set()


def _link(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        # Another run may have been quicker; files are written whole and never changed.
        with suppress(FileExistsError):
            (target / name).hardlink_to(source / name)
