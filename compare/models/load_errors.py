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

# By name, because the Hub's client does not always use the same package for `HTTPError`.
INTERRUPTED = ("RemoteProtocolError", "ReadError", "ReadTimeout")


@contextmanager
def load_errors(place: str, revision: str | None = None) -> Iterator[None]:
    """Turn every error inside into a `ModelNotLoaded` about the model at `place`.

    Args:
        place: a folder, a file or a repository on the Hub.
        revision: of the repository.
    """
    try:
        yield
    except ModelNotLoaded:
        raise
    except Exception as error:  # every layer below has its own: hub, connection, safetensors, JSON, shapes
        for cause in _causes(error):
            if isinstance(cause, ModelNotLoaded):  # which diffusers has taken for an error of its own
                raise cause from None
        raise ModelNotLoaded(_sentence(place, revision, error)) from error


def is_hub_error(error: BaseException) -> bool:
    """Whether an error, or one of its causes, is from the Hub's client or from the connection to it."""
    return _has(error, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters, with a full stop at its end."""
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return (line if len(line) <= 200 else line[:199] + "…").rstrip(".") + "."


def _sentence(place: str, revision: str | None, error: BaseException) -> str:
    here = Path(place).exists()
    numbers = {e.errno for e in _causes(error) if isinstance(e, OSError)}
    if numbers & {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"There is no disk space left to load {place}: free some, or set HF_HOME to a folder on a disk "
            "that has it."
        )
    if numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        if here:
            return f"{place} may not be read by the user that runs this: change its permissions."
        return (
            f"{place} could not be kept: the Hub's cache may not be written here. Set HF_HOME to a folder "
            "that may."
        )
    if not here and (sentence := _hub_sentence(place, revision, error)):
        return sentence
    if _lacks_safetensors(error):
        return (
            f"{place} lacks weights as .safetensors: other formats are not read, as they can carry code. "
            "Save it with diffusers' save_pretrained once, and name that folder."
        )
    if _has(error, SafetensorError):
        if not here:
            return (
                f"{place} is truncated or broken in the Hub's local cache: remove it with "
                f"`hf cache rm model/{place}`, and start again."
            )
        if Path(place).is_file():
            return f"{place} is truncated, or is no .safetensors file: copy it again ({first_line(error)})"
    return f"{place} could not be loaded, it seems broken: {first_line(error)}"


def _hub_sentence(place: str, revision: str | None, error: BaseException) -> str | None:
    if _has(error, GatedRepoError):
        return (
            f"{place} is gated: accept its terms at https://huggingface.co/{place}, and set HF_TOKEN to a "
            "token of the account that did."
        )
    if _has(error, RevisionNotFoundError):
        return f"{place} has no revision {revision} on the Hub: name one that it has, as owner/name@revision."
    if _has(error, RepositoryNotFoundError):
        return (
            f"There is no repository {place} on the Hub that this machine may see: check the spelling; for a "
            "private one, set HF_TOKEN to a token that may read it."
        )
    if _has(error, RemoteEntryNotFoundError):
        return (
            f"{place} is not a pipeline that diffusers can load: it has no model_index.json. If it has the "
            "whole model in one .safetensors file, download that and name the file."
        )
    if any(
        type(e).__name__ in INTERRUPTED or (isinstance(e, OSError) and "onsistency check failed" in str(e))
        for e in _causes(error)
    ):
        return f"The download of {place} was cut off: start again, and only what is missing is fetched."
    if _has(error, SafetensorError) or _lacks_safetensors(error) or not is_hub_error(error):
        return None
    answers = [e.response for e in _causes(error) if isinstance(e, HfHubHTTPError) and e.response is not None]
    if answers and not _has(error, LocalEntryNotFoundError):
        return f"{place} could not be fetched: the Hub answered {answers[0].status_code}. Try later."
    return (
        f"{place} could not be fetched: it is not in the local cache, and the Hub cannot be reached. "
        "Connect to the network, or name a folder on this machine."
    )


def _lacks_safetensors(error: BaseException) -> bool:
    # Neither diffusers nor transformers has an exception of its own for it.
    return not _has(error, SafetensorError) and any(
        isinstance(e, OSError) and "safetensors" in str(e) and ("no file named" in str(e) or "find" in str(e))
        for e in _causes(error)
    )


def _has(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(e, kinds) for e in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
