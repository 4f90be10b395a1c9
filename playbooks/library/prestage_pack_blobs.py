#!/usr/bin/python
"""Pack the image blobs that a site lacks, on the controller."""

DOCUMENTATION = r"""
module: prestage_pack_blobs
short_description: Pack exactly the image blobs that a site lacks into one archive
description:
  - Runs on the controller. Takes the blobs from the OCI layouts, verifies them, and returns the archive's path.
options:
  sources: {type: list, elements: dict, required: true, description: Answer of prestage_image_sources.}
  blobs: {type: list, elements: str, required: true, description: SHA-256 of each blob.}
  archive_directory: {type: path, required: true, description: Where archives are kept for other sites.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.archive import Part, pack
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.image_sources import source_from_dict
from ansible.module_utils.prestage.oci_layout import Blob, Layout
from ansible.module_utils.prestage.results import report


def work(params: dict) -> dict:
    """Pack the named blobs."""
    parts = {}
    for source in map(source_from_dict, params["sources"]):
        for blob in source.image.blobs if source.image else []:
            parts.setdefault(blob.sha256, part(blob, Layout(source.path), source.reference.name))
    unknown = sorted(set(params["blobs"]) - set(parts))
    if unknown:
        raise PrestageError(
            f"The image list changed meanwhile: nothing in it has blob sha256:{unknown[0]}. Prestage again."
        )
    return pack([parts[sha256] for sha256 in params["blobs"]], params["archive_directory"])


def part(blob: Blob, layout: Layout, image: str) -> Part:
    """Describe one blob of the archive."""
    advice = f"It is a blob of image {image} in {layout.path} on the controller. Make that layout again."
    return Part(blob.sha256, blob.sha256, blob.size, lambda: layout.open_blob(blob.sha256), advice)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "sources": {"type": "list", "elements": "dict", "required": True},
            "blobs": {"type": "list", "elements": "str", "required": True},
            "archive_directory": {"type": "path", "required": True},
        }
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
