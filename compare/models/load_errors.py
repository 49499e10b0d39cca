"""Why a model could not be loaded, as one sentence that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from compare.errors import ModelNotLoaded

# `HTTPError` is that of the httpx which the Hub's client uses, and that is not always the same package.
CUT_OFF = ("RemoteProtocolError", "ReadError", "ReadTimeout")


@contextmanager
def told_of(place: str, revision: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong inside into a `ModelNotLoaded` on the model at `place`.

    Args:
        place: a folder, a file or a repository on the Hub.
        revision: of the repository.
    """
    try:
        yield
    except ModelNotLoaded:
        raise
    except Exception as error:  # every layer below has its own: hub, connection, safetensors, JSON, shapes
        here = Path(place).exists()
        sentence = _of_this_machine(place, here, error) or (
            _of_a_broken_model(place, error) if here else _of_the_hub(place, revision, error)
        )
        raise ModelNotLoaded(sentence) from error


def came_from_the_hub(error: BaseException) -> bool:
    """Whether an error, or one that led to it, came from the Hub's client or from the connection to it."""
    return _first(error, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError)


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line that ends with a full stop."""
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return (line if len(line) <= 200 else line[:199] + "…").rstrip(".") + "."


def _of_this_machine(place: str, here: bool, error: BaseException) -> str | None:
    if any(_is_os_error(e, errno.ENOSPC, errno.EDQUOT) for e in _chain(error)):
        return (
            f"There is no disk space left to load {place}: free some, or set HF_HOME to a folder on a disk "
            "that has it."
        )
    if any(_is_os_error(e, errno.EACCES, errno.EPERM, errno.EROFS) for e in _chain(error)):
        if here:
            return f"{place} may not be read by the user that runs this: change its permissions."
        return (
            f"{place} could not be kept: the Hub's cache may not be written here. Set HF_HOME to a folder "
            "that may."
        )
    return None


def _of_the_hub(place: str, revision: str | None, error: BaseException) -> str:
    if _first(error, GatedRepoError):
        return (
            f"{place} is gated: accept its terms at https://huggingface.co/{place}, and set HF_TOKEN to a "
            "token of the account that did."
        )
    if _first(error, RevisionNotFoundError):
        return f"{place} has no revision {revision} on the Hub: name one that it has, as owner/name@revision."
    if _first(error, RepositoryNotFoundError):
        return (
            f"There is no repository {place} on the Hub that this machine may see: check the spelling; for a "
            "private one, set HF_TOKEN to a token that may read it."
        )
    if _first(error, RemoteEntryNotFoundError):
        return (
            f"{place} is not a pipeline that diffusers can load: it has no model_index.json. If it has the "
            "whole model in one .safetensors file, download that and name the file."
        )
    if _was_cut_off(error):
        return f"The download of {place} was cut off: start again, and only what is missing is fetched."
    if _no_safetensors(error):
        return _only_safetensors(place)
    if _first(error, SafetensorError):
        return (
            f"{place} is truncated or broken in the Hub's local cache: remove it with "
            f"`hf cache rm model/{place}`, and start again."
        )
    answered = next((e for e in _chain(error) if isinstance(e, HfHubHTTPError)), None)
    if answered is not None and answered.response is not None and not _first(error, LocalEntryNotFoundError):
        return f"{place} could not be fetched: the Hub answered {answered.response.status_code}. Try later."
    if came_from_the_hub(error):
        return (
            f"{place} could not be fetched: it is not in the local cache, and the Hub cannot be reached. "
            "Connect to the network, or name a folder on this machine."
        )
    return _of_a_broken_model(place, error)


def _of_a_broken_model(place: str, error: BaseException) -> str:
    if _no_safetensors(error):
        return _only_safetensors(place)
    if Path(place).is_file() and _first(error, SafetensorError):
        return f"{place} is truncated, or is no .safetensors file: copy it again ({first_line(error)})"
    return f"{place} could not be loaded, it seems broken: {first_line(error)}"


def _only_safetensors(place: str) -> str:
    return (
        f"{place} lacks weights as .safetensors: other formats are not read, as they can carry code. Save it "
        "with diffusers' save_pretrained once, and name that folder."
    )


def _no_safetensors(error: BaseException) -> bool:
    # Neither diffusers nor transformers has an exception of its own for it.
    return not _first(error, SafetensorError) and any(
        isinstance(e, OSError) and "safetensors" in str(e) and ("no file named" in str(e) or "find" in str(e))
        for e in _chain(error)
    )


def _was_cut_off(error: BaseException) -> bool:
    return any(
        (isinstance(e, HTTPError) and type(e).__name__ in CUT_OFF)
        or (isinstance(e, OSError) and "onsistency check failed" in str(e))
        for e in _chain(error)
    )


def _is_os_error(error: BaseException, *numbers: int) -> bool:
    return isinstance(error, OSError) and error.errno in numbers


def _first(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(e, kinds) for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
