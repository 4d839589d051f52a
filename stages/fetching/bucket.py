# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A public S3 bucket read without an account: two requests of its REST interface are all that is needed."""

import contextlib
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from models.errors import InputError

if TYPE_CHECKING:
    import requests

_TIMEOUT_S = (10.0, 60.0)  # to connect; between two packets
_CHUNK = 2**18


@dataclass(frozen=True)
class RemoteFile:
    """An object of a bucket.

    Attributes:
        key: its name in the bucket.
        size: bytes.
        etag: what S3 says of its content, without quotes.
    """

    key: str
    size: int
    etag: str


class Bucket:
    """A bucket by the address of a folder in it.

    Args:
        url: `https://<endpoint>/<bucket>/<folder>`.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        bucket, _, folder = parts.path.strip("/").partition("/")
        if parts.scheme not in ("http", "https") or not parts.netloc or not bucket:
            raise InputError(f"the source must be https://<endpoint>/<bucket>/<folder>, not {url!r}")
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        self._address, self.folder = f"{self.endpoint}/{bucket}", f"{folder}/" if folder else ""
        self._local = threading.local()

    def list(self, folder: str, recursive: bool) -> tuple[list[RemoteFile], list[str]]:
        """Objects and, where not recursive, sub-folder names below a folder; keys are relative to the address."""
        prefix = self.folder + folder
        query = {"list-type": "2", "prefix": prefix, **({} if recursive else {"delimiter": "/"})}
        files: list[RemoteFile] = []
        folders: list[str] = []
        while True:
            page = self._page(query)
            for item in page.iter("Contents"):
                key, size, etag = (item.findtext(name, "") for name in ("Key", "Size", "ETag"))
                files.append(RemoteFile(key[len(self.folder) :], int(size), etag.strip('"')))
            folders += [item.findtext("Prefix", "")[len(prefix) :].rstrip("/") for item in page.iter("CommonPrefixes")]
            if page.findtext("IsTruncated") != "true":
                return files, folders
            query["continuation-token"] = page.findtext("NextContinuationToken", "")

    def _page(self, query: dict[str, str]) -> ElementTree.Element:
        """A page of a listing; a portal that asks for a login answers 200 too, but with a page of its own."""
        with self._get(self._address, query) as answer, self._told():
            content = answer.content
        with contextlib.suppress(ElementTree.ParseError):
            page = _without_namespaces(content)
            if page.tag == "ListBucketResult":
                return page
        raise InputError(f"{self.endpoint} does not answer as S3 does; check the address and the proxy")

    def read(self, file: RemoteFile) -> Iterator[bytes]:
        """Content of an object in pieces."""
        with self._get(f"{self._address}/{urllib.parse.quote(self.folder + file.key)}", {}) as answer, self._told():
            yield from answer.iter_content(_CHUNK)

    @contextlib.contextmanager
    def _get(self, url: str, query: dict[str, str]) -> "Iterator[requests.Response]":
        with self._told():
            answer = self._session().get(url, params=query, stream=True, timeout=_TIMEOUT_S)
        with answer:
            if answer.status_code != 200:
                reason = f"{answer.status_code} {answer.reason}"
                raise InputError(f"{self.endpoint} answers {reason} for {urllib.parse.urlsplit(url).path or '/'}")
            yield answer

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """An unreachable server in one sentence."""
        import requests

        try:
            yield
        except requests.RequestException as error:
            text = f"{self.endpoint} cannot be reached or broke off ({type(error).__name__})"
            raise InputError(f"{text}; check network and proxy and run again: what has arrived is kept") from error

    def _session(self) -> "requests.Session":
        """One a thread: connections are kept open, and what a busy server refuses is asked again."""
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        if not hasattr(self._local, "session"):
            again = Retry(total=4, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
            session = requests.Session()
            session.mount(self.endpoint, HTTPAdapter(max_retries=again))
            self._local.session = session
        found: requests.Session = self._local.session
        return found


def _without_namespaces(content: bytes) -> ElementTree.Element:
    page = ElementTree.fromstring(content)
    for item in page.iter():
        item.tag = item.tag.rpartition("}")[2]
    return page
