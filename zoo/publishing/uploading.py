"""Publishing a `best/`: into a folder, or in one commit on the Hugging Face Hub."""

from __future__ import annotations

import filecmp
import functools
import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from zoo import folders, upstream
from zoo.adaptation import saved
from zoo.adaptation.saved_config import CONFIG
from zoo.backbones import hub
from zoo.errors import CheckpointError, ConfigError, OutputError
from zoo.publishing import metadata
from zoo.publishing.card import CARD, WEIGHTS

log = logging.getLogger("zoo")

MESSAGE = "Publish with zoo"
"""Of the commit."""


def publish(folder: Path, to: str, *, force: bool = False, private: bool = True) -> str:
    """Copy a finished `best/` to a folder, or upload it; what is there already and equal is left as it is.

    Args:
        folder: it has a card and an intact manifest.
        to: a folder, if it starts with `.`, `/` or `~` or is there; else `owner/name` on the Hub.
        force: replace a card (on the Hub) or a published folder that differs, and take over a card or figures in `folder` that were edited.
        private: whether a repository that is made is private.

    Returns: the folder, or the address of the repository.
    Raises: CheckpointError if `folder` is damaged or unfinished; OutputError if something that differs is there, or the Hub cannot be
    reached or refuses; ConfigError for an impossible `to`, or if nobody is logged in.
    """
    if not folders.is_file(folder / CARD) and folders.is_folder(folder):
        raise CheckpointError(f"{folder}: has no {CARD}, so its run has not ended; go on with `zoo resume {folder.parent}`")
    entries = folders.verify(folder, (WEIGHTS, CONFIG, CARD), ignored=saved.for_people)
    _check_card(folder, entries, force)
    names = [*entries, folders.MANIFEST]
    if to.startswith((".", "/", "~")) or (to and folders.is_folder(Path(to))):
        return _to_folder(folder, names, folders.expanded(to), force)
    return _to_hub(folder, names, to, force, private)


def _check_card(folder: Path, entries: Mapping[str, Any], force: bool) -> None:
    """See to it that card and figures are those that were written, or with `force` any with a valid card, which the manifest lists from
    then on.

    Raises: CheckpointError; OutputError if the manifest cannot be written.
    """
    card, shown = folder / CARD, [name for name in entries if saved.for_people(name)]
    if missing := [name for name in shown if not folders.is_file(folder / name)]:
        raise CheckpointError(f"{folder / missing[0]}: missing; use another copy of the folder")
    edited = [name for name in shown if folders.sha256(folder / name) != entries[name]["sha256"]]
    if edited and not force:
        raise CheckpointError(
            f"{folder / edited[0]}: changed since it was written; publish it as it is with --force, or use another copy of the folder"
        )
    try:
        metadata.validate(card.read_text(encoding="utf-8"), str(card))
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{card}: not a text in UTF-8; use another copy of the folder") from error
    for name in edited:
        folders.relist(folder, name)
        log.info("%s was changed: it is published as it is", folder / name)


def _to_folder(folder: Path, names: list[str], target: Path, force: bool) -> str:
    if folders.exists(target):
        if not (folders.is_file(target / folders.MANIFEST) and folders.is_file(target / CARD)):
            raise OutputError(f"{target} exists and is not a published model; name another folder")
        first = _first_difference(folder, names, target)
        if first is None:
            return str(target)
        if not force:
            raise OutputError(f"{target} exists and differs ({first}); name another folder, or replace it with --force")
    with folders.whole(target, replace=force) as aside:
        for name in names:
            if name != folders.MANIFEST:
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, aside / name)
    return str(target)


def _first_difference(folder: Path, names: list[str], target: Path) -> str | None:
    """The first file of `target` that differs, is missing or is not among `names`. No folder is looked into that they do not name."""
    for name in names:
        if not folders.is_file(target / name) or not filecmp.cmp(folder / name, target / name, shallow=False):
            return name
    parents = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    present = (path.relative_to(target).as_posix() for parent in sorted(parents) for path in sorted((target / parent).iterdir()))
    return next((name for name in present if name not in parents and name not in names), None)


def _to_hub(folder: Path, names: list[str], repository: str, force: bool, private: bool) -> str:
    try:
        upstream.check_repository(repository)
    except HFValidationError:
        repository = ""
    if repository.count("/") != 1:
        raise ConfigError("publish to a folder (./NAME, /PATH), or to a repository of the Hub (OWNER/NAME)")
    if constants.is_offline_mode():
        raise OutputError(f"{repository} cannot be published: HF_HUB_OFFLINE forbids to ask the Hub; publish to a folder")
    token = hub.login_token()
    if token is None:
        raise ConfigError("nobody is logged in to the Hub; run `hf auth login` first")
    api = HfApi(token=token)
    try:
        with hub.waiting():
            address = str(hub.again(lambda: api.create_repo(repository, private=private, exist_ok=True)))
            _commit(api, folder, names, repository, force)
    except hub.ANY as error:
        reason = hub.reason(error)
        raise OutputError(f"{repository} cannot be published at {hub.endpoint()}: {reason}") from error
    return address


def _commit(api: HfApi, folder: Path, names: list[str], repository: str, force: bool) -> None:
    """One commit of all files on the head that was looked at, and none if they are there; then the listed digests are compared."""
    look = functools.partial(hub.again, functools.partial(api.model_info, repository, files_metadata=True))
    before: Any = look()
    if all(_listed(before, folder, name) for name in names):
        return
    ours = (folder / CARD).read_bytes()
    theirs = hub.again(lambda: _present_card(repository, before.sha))
    # A new repository may hold the Hub's own empty card.
    if theirs not in (None, b"", ours) and not force:
        raise OutputError(f"{repository} has another {CARD}; look at it, then replace it with --force")

    def send() -> None:
        operations = [CommitOperationAdd(name, folder / name) for name in names]
        try:
            api.create_commit(repository, operations, commit_message=MESSAGE, parent_commit=before.sha)
        except hub.ANY:  # the response may be what was lost, and not the commit
            now = look()
            if not all(_listed(now, folder, name) for name in names):
                raise

    hub.again(send)
    after = look()
    wrong = next((name for name in names if _listed(after, folder, name) is False), None)
    if wrong is not None:
        raise OutputError(f"{repository}: the Hub lists another digest for {wrong} than was sent; publish again")


def _listed(info: Any, folder: Path, name: str) -> bool | None:
    """Whether the Hub lists this file with our bytes; None where it gives no digest of it."""
    entry = next((one for one in info.siblings or [] if one.rfilename == name), None)
    if entry is None:
        return False
    if entry.lfs:
        return bool(entry.lfs.sha256 == folders.sha256(folder / name))
    if entry.blob_id is None:
        return None
    content = (folder / name).read_bytes()
    return bool(entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest())  # git's


def _present_card(repository: str, revision: str | None) -> bytes | None:
    try:
        return Path(hf_hub_download(repository, CARD, revision=revision, force_download=True)).read_bytes()
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):  # not reached, rather than not there
            raise
        return None
