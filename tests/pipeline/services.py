# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of remote that teams share artifacts through, each a real service on the loopback."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.pipeline.project import Project

BUCKET = "team"


@dataclass(frozen=True)
class Remote:
    """A running service with room for one remote.

    Attributes:
        url: as `make share` takes it.
        settings: what a clone must know besides, as arguments of `dvc remote modify --local share`.
        environment: credentials for every command.
        overwrite: puts bytes into the object of a digest, whatever was there.
        remove: removes it.
    """

    url: str
    overwrite: Callable[[str, bytes], None]
    remove: Callable[[str], None]
    settings: Sequence[tuple[str, str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def join(self, project: Project) -> Project:
        """The project with what each user of the remote sets for himself."""
        for name, value in self.settings:
            project.run("dvc", "remote", "modify", "--local", "share", name, value)
        return Project(project.folder, {**project.environment, **self.environment})


def key(digest: str) -> str:
    """Where DVC keeps an object, below the root of a remote."""
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def in_folder(folder: Path, url: str, **more: object) -> Remote:
    """A remote whose objects are files that this machine sees."""

    def overwrite(digest: str, content: bytes) -> None:
        path = folder / key(digest)
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    return Remote(url, overwrite, lambda digest: (folder / key(digest)).unlink(), **more)  # type: ignore[arg-type]


@contextlib.contextmanager
def shared_folder(folder: Path) -> Iterator[Remote]:
    """A folder that all machines see."""
    yield in_folder(folder / "store", str(folder / "store"))


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Remote]:
    """An S3 server with one bucket."""
    pytest.importorskip("dvc_s3", reason="needs the extra s3")
    server = pytest.importorskip("moto.server", reason="needs the extra test: an S3 server")
    import boto3

    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    endpoint = "http://{}:{}".format(*running.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=BUCKET)
    try:
        yield Remote(
            f"s3://{BUCKET}/sceneflow",
            lambda digest, content: client.put_object(Bucket=BUCKET, Key=f"sceneflow/{key(digest)}", Body=content),
            lambda digest: client.delete_object(Bucket=BUCKET, Key=f"sceneflow/{key(digest)}"),
            settings=[("endpointurl", endpoint)],
            environment=keys,
        )
    finally:
        running.stop()


@contextlib.contextmanager
def ssh(folder: Path) -> Iterator[Remote]:
    """The system's own SSH server on a free port, with keys of its own."""
    pytest.importorskip("dvc_ssh", reason="needs the extra ssh")
    daemon = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if daemon is None or not _separation_folder():
        pytest.skip("needs the system's SSH server (openssh-server) and its folder /run/sshd")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "id", "stranger"):
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    options = {
        "ListenAddress": "127.0.0.1", "AuthorizedKeysFile": folder / "id.pub", "StrictModes": "no", "PidFile": "none",
        "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    with (folder / "log").open("w") as log:
        command = [daemon, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(folder / "host"), *settings]
        server = subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)
    try:
        _wait_for(port)
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder / 'store'}"
        yield in_folder(folder / "store", url, settings=[("keyfile", str(folder / "id"))])
    finally:
        server.terminate()
        server.wait()


def _separation_folder() -> bool:
    """The folder that sshd insists on; root may make it."""
    folder = Path("/run/sshd")
    if not folder.is_dir() and os.geteuid() == 0:
        folder.mkdir(mode=0o755)
    return folder.is_dir()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def make_without_setup(project: Project) -> None:
    """Let `make` take the environment that runs the tests for the one that it would set up."""
    folder = project.folder / ".venv"
    folder.mkdir(exist_ok=True)
    for name in (".ready", ".ready-test"):
        (folder / name).touch()
