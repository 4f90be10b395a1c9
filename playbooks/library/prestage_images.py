#!/usr/bin/python
"""Stage the container images of a release on a site."""

DOCUMENTATION = r"""
module: prestage_images
short_description: Stage the container images of a release on a site
description:
  - Fetches docker:// images through skopeo, takes layouts of the site's own list, then what the archive brings,
    verifies every digest and writes one archive and a marker. Otherwise answers C(missing), for the controller to pack.
  - With C(plan) it asks registries for sizes only and answers how much may be brought to the site, which moves the
    deadline of the run; a site that is complete answers as without.
  - Writes only while it holds the lock of the site.
options:
  release: {type: str, required: true, description: The target release.}
  sources: {type: list, elements: dict, description: Answer of prestage_image_sources; absent to read own_list_file.}
  own_list_file: {type: path, required: true, description: The site's own list.}
  plan: {type: bool, default: false, description: Only find out what the site lacks; fetch nothing.}
  archive: {type: path, default: "", description: Archive on the site with what was missing; removed afterwards.}
  min_free_bytes: {type: int, default: 0, description: Room that must stay free.}
  quota_bytes: {type: int, default: 0, description: Largest total size of the images; 0 for no limit.}
  skopeo: {type: str, default: skopeo, description: The program that asks registries.}
  tls_verify: {type: bool, default: true, description: Whether registries must prove who they are.}
  auth_file: {type: str, default: "", description: Login file for registries.}
  backup_dir, origin, token, run, lock_wait_s, lock_lease_s: {description: See README.md, locking.}
  floor_rate_mbit_s, deadline_s: {description: See README.md, locking.}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.image_sources import Source, open_container, read_sources, source_from_dict
from ansible.module_utils.prestage.image_staging import ImageStaging, all_blobs
from ansible.module_utils.prestage.incoming import incoming_path, remove_incoming
from ansible.module_utils.prestage.lock import LOCK_ARGUMENTS, SiteLock
from ansible.module_utils.prestage.platforms import own_architecture
from ansible.module_utils.prestage.registry import Registry, RegistryAccess
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import release_number


def work(params: dict) -> dict:
    """Stage under the lock of the site."""
    staging = ImageStaging(os.path.join(params["backup_dir"], release_number(params["release"])))
    from_controller = params["sources"] is not None
    with SiteLock(params) as lock:
        remove_incoming(params["backup_dir"], keep=lock.run)
        if from_controller:
            sources = [source_from_dict(source) for source in params["sources"]]
        else:
            sources = read_sources(params["own_list_file"])
        marker = staging.complete_marker(sources)
        if not marker:
            resolved = resolve(sources, params, lock)
            if params.get("plan"):
                return announce(resolved, lock, from_controller=from_controller)
            missing = stage(resolved, staging, params, from_controller=from_controller, lock=lock)
            if missing:
                return ask(missing, resolved, params, lock)
            marker = staging.finish([image for _, image in resolved], sources, params["release"])
            marker = dict(marker, changed=True)
        remove_incoming(params["backup_dir"], keep="")
        lock.release()
        return answer(params, lock, marker)


def resolve(sources: list, params: dict, lock: SiteLock) -> list:
    """Pair each source with its image; asks registries, so nothing big is fetched yet."""
    registry = access(params, lock)
    resolved = [(source, source.image or registry.resolve(source.reference)) for source in sources]
    for _, image in resolved:
        image.require_variant(own_architecture())
    return resolved


def stage(resolved: list, staging: ImageStaging, params: dict, *, from_controller: bool, lock: SiteLock) -> list:
    """Take in every blob that the site can reach; return the others."""
    images = [image for _, image in resolved]
    sent = bool(params["archive"])
    staging.require_space(images, params["min_free_bytes"], params["quota_bytes"], transferred=sent)
    staging.begin(images)
    if sent:
        staging.take_archive(params["archive"], images)
    for source, image in resolved:
        lacking = staging.lacking([image])
        if not lacking or (source.path and from_controller):
            continue
        if source.path:
            take_layout(source, lacking, staging)
        else:
            access(params, lock).fetch(source.reference, image, staging.scratch(), staging.take_file)
    return staging.lacking(images)


def take_layout(source: Source, blobs: list, staging: ImageStaging) -> None:
    """Copy blobs of an image from the site's own layout."""
    container = open_container(source.reference, source.path)
    try:
        for blob in blobs:
            staging.take_layout(container, blob)
    except PrestageError as error:
        raise PrestageError(f"Image {source.reference.name}: {error}", error.failure_class) from error


def announce(resolved: list, lock: SiteLock, *, from_controller: bool) -> dict:
    """
    Answer how many bytes may come from registries and the controller, whatever of them is there already.

    Sources of the controller's list go along, so that the tags are not resolved again.
    """
    travelling = [image for source, image in resolved if from_controller or not source.path]
    plan = {
        "changed": False,
        "run": lock.run,
        "released": False,
        "missing": [],
        "prestage_transfer_bytes": sum(blob.size for blob in all_blobs(travelling)),
    }
    return dict(plan, sources=as_sources(resolved)) if from_controller else plan


def as_sources(resolved: list) -> list:
    """Return the sources with the images that they stand for, as the module takes them."""
    return [source._replace(image=image).as_dict() for source, image in resolved]


def access(params: dict, lock: SiteLock) -> Registry:
    """Return the way to registries."""
    return Registry(RegistryAccess(params["skopeo"], params["tls_verify"], params["auth_file"], lock.descriptor))


def ask(missing: list, resolved: list, params: dict, lock: SiteLock) -> dict:
    """
    Answer which blobs the controller must send, and keep the site until they can be here.

    The resolved sources go along, so that a tag which moves meanwhile cannot mix two versions of an image.
    """
    lock.await_transfer(sum(blob.size for blob in missing))
    return {
        "changed": True,
        "run": lock.run,
        "released": False,
        "missing": [blob.sha256 for blob in missing],
        "upload": incoming_path(params["backup_dir"], lock.run),
        "sources": as_sources(resolved),
    }


def answer(params: dict, lock: SiteLock, marker: dict) -> dict:
    """Return the result of a complete site."""
    stats = {
        "prestaged_release": params["release"],
        "image_count": len(marker["images"]),
        "bytes": marker["archive_bytes"],
    }
    changed = bool(marker.get("changed"))
    return {"changed": changed, "run": lock.run, "released": lock.released, "missing": [], "stats": stats}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            LOCK_ARGUMENTS,
            release={"type": "str", "required": True},
            sources={"type": "list", "elements": "dict"},
            own_list_file={"type": "path", "required": True},
            plan={"type": "bool", "default": False},
            archive={"type": "path", "default": ""},
            min_free_bytes={"type": "int", "default": 0},
            quota_bytes={"type": "int", "default": 0},
            skopeo={"type": "str", "default": "skopeo"},
            tls_verify={"type": "bool", "default": True},
            auth_file={"type": "str", "default": ""},
        )
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
