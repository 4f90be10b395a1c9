#!/usr/bin/python
"""Pack the image blobs that a site lacks, on the controller."""

DOCUMENTATION = r"""
module: prestage_pack_blobs
short_description: Pack exactly the image blobs that a site lacks into one archive
description:
  - Runs on the controller. Takes the blobs from the OCI layouts, verifies them, and returns the archive's path.
  - Opens the layouts of C(sources) only, which must come from the controller's own list; C(blobs) is what a site says.
options:
  sources: {type: list, elements: dict, required: true, description: The controller's answer of prestage_image_sources.}
  blobs: {type: list, elements: str, required: true, description: SHA-256 of each blob.}
  archive_directory: {type: path, required: true, description: Where archives are kept for other sites.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.archive import Part, pack
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.image_manifest import Blob
from ansible.module_utils.prestage.image_sources import Container, open_container, source_from_dict
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import SHA256, excerpt


def work(params: dict) -> dict:
    """
    Pack the named blobs.

    Raises:
        PrestageError: A name is no SHA-256, or no layout of the controller has such a blob.
    """
    for name in params["blobs"]:
        if not SHA256.match(name):
            raise PrestageError(f"The site asks for the blob {excerpt(name)}, which is no SHA-256.")
    parts = {}
    for source in map(source_from_dict, params["sources"]):
        container = open_container(source.reference, source.path)
        for blob in source.image.blobs if source.image and source.path else []:
            parts.setdefault(blob.sha256, part(blob, container, source.reference.name))
    unknown = sorted(set(params["blobs"]) - set(parts))
    if unknown:
        raise PrestageError(
            f"The controller's image list has no layout with blob sha256:{unknown[0]}. If the list changed meanwhile, "
            "prestage again."
        )
    return pack([parts[sha256] for sha256 in params["blobs"]], params["archive_directory"])


def part(blob: Blob, container: Container, image: str) -> Part:
    """Describe one blob of the archive."""
    advice = f"It is a blob of image {image} in {container.path} on the controller. Make that layout again."
    return Part(blob.sha256, blob.sha256, blob.size, lambda: container.open_blob(blob.sha256), advice)


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
