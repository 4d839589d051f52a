# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A public S3 bucket on this machine: moto's server behind a door that counts, slows down and damages."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

NAME = "argoverse"


class PublicBucket:
    """The server, in threads of this process.

    Attributes:
        read: keys of the objects that were read.
        damage: how often an object, by the end of its key, is yet to be sent with a wrong byte.
        pause_s: wait before each answer.
        broken: keys that end so are cut off in the middle of the body.
    """

    def __init__(self) -> None:
        self.read: list[str] = []
        self.damage: dict[str, int] = {}
        self.broken: set[str] = set()
        self.pause_s = 0.0
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request otherwise
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.endpoint}/{NAME}/datasets/av2"
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        self.client: Any = boto3.client("s3", endpoint_url=self.endpoint, **keys)
        self.client.create_bucket(Bucket=NAME)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=NAME, Key=f"datasets/av2/{key}", Body=content, ACL="public-read")

    def put_in_parts(self, key: str, parts: list[bytes]) -> None:
        target = {"Bucket": NAME, "Key": f"datasets/av2/{key}"}
        upload = self.client.create_multipart_upload(**target, ACL="public-read")["UploadId"]
        tags = [
            self.client.upload_part(**target, UploadId=upload, PartNumber=number, Body=part)["ETag"]
            for number, part in enumerate(parts, 1)
        ]
        made = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
        self.client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload=made)

    def put_log(self, folder: Path, prefix: str) -> None:
        """A raw log's folder, and two camera images beside its sweeps."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        for name in ("sensors/cameras/ring_front_center/315.jpg", "sensors/cameras/ring_side_left/315.jpg"):
            self.put(f"{prefix}/{name}", b"an image")

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        reading = environ["REQUEST_METHOD"] == "GET" and path.startswith(f"/{NAME}/")
        if not reading or path == f"/{NAME}/":
            return self._app(environ, start)
        time.sleep(self.pause_s)
        self.read.append(path.removeprefix(f"/{NAME}/datasets/av2/"))
        body = b"".join(self._app(environ, start))
        for end, left in self.damage.items():
            if path.endswith(end) and left:
                self.damage[end] -= 1
                return [bytes([body[0] ^ 1]) + body[1:]]
        return [body[: len(body) // 2]] if any(path.endswith(end) for end in self.broken) else [body]
