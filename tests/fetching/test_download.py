# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m stages.download` from end to end against an S3 server of this machine."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from stages.fetching.split import choose_logs
from stages.pipeline.code import ROOT
from tests.pipeline.raw_logs import write_log
from tests.services.bucket import PublicBucket

LOGS = [f"{digit * 8}-2222-3333-4444-555555555555" for digit in "abc"]


@pytest.fixture(scope="module")
def server() -> Iterator[PublicBucket]:
    server = PublicBucket()
    yield server
    server.close()


@pytest.fixture
def bucket(server: PublicBucket, tmp_path: Path) -> PublicBucket:
    """Three logs in the val split of the sensor data set."""
    server.read.clear()
    server.damage.clear()
    server.broken.clear()
    server.pause_s = 0.0
    for log in LOGS:
        server.put_log(write_log(tmp_path / "origin", "val", log), f"sensor/val/{log}")
    return server


def command(bucket: PublicBucket, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "stages.download", "--source", bucket.url, "--split", "val", *arguments]


def environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "AV2_ROOT": str(root), "PYTHONPATH": str(ROOT)}


def download(bucket: PublicBucket, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(bucket, *arguments), env=environment(root), cwd=root.parent, capture_output=True, text=True, check=False
    )


def same(tmp_path: Path, log: str) -> bool:
    """Whether every file is as in the original."""
    return contents(tmp_path / "origin/sensor/val" / log) == contents(tmp_path / "copy/sensor/val" / log)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def arrived(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "copy").rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_everything_but_the_cameras_arrives_as_it_was(bucket: PublicBucket, tmp_path: Path) -> None:
    result = download(bucket, tmp_path / "copy")
    assert result.returncode == 0, result.stderr
    assert "3 logs are complete" in result.stdout
    assert all(same(tmp_path, log) for log in LOGS)
    assert not any("cameras" in key for key in bucket.read)
    assert len(bucket.read) == len(set(bucket.read)) == len(arrived(tmp_path))
    bucket.read.clear()
    again = download(bucket, tmp_path / "copy")
    assert "0 files are new" in again.stdout
    assert bucket.read == []


@pytest.mark.parametrize("choice", ["2", f"{LOGS[1]},{LOGS[0]}", "ids.txt"])
def test_some_logs(choice: str, bucket: PublicBucket, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n".join(LOGS[:2]) + "\n")
    assert download(bucket, tmp_path / "copy", "--logs", choice).returncode == 0
    assert sorted(path.name for path in (tmp_path / "copy/sensor/val").iterdir() if path.is_dir()) == LOGS[:2]


def test_the_lidar_data_set(bucket: PublicBucket, tmp_path: Path) -> None:
    log = write_log(tmp_path / "origin", "train")
    (log / "annotations.feather").unlink()
    bucket.put_log(log, f"lidar/val/{log.name}")
    assert download(bucket, tmp_path / "copy", "--dataset", "lidar").returncode == 0
    assert contents(tmp_path / "copy/lidar/val" / log.name) == contents(log)
    refused = download(bucket, tmp_path / "copy", "--dataset", "sensor")
    assert "holds the data set lidar; take another AV2_ROOT for sensor" in refused.stderr


def test_killed_it_goes_on_where_it_was(bucket: PublicBucket, tmp_path: Path) -> None:
    bucket.pause_s = 0.1
    process = subprocess.Popen(
        command(bucket, "--connections", "2"), env=environment(tmp_path / "copy"), stderr=subprocess.DEVNULL
    )
    while len(arrived(tmp_path)) < 6:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = [path for path in (tmp_path / "copy/sensor/val").iterdir() if not path.name.startswith(".")]
    assert all(same(tmp_path, path.name) for path in whole)  # a log has its name only when it is complete
    assert len(whole) < 3
    kept = len(arrived(tmp_path))
    time.sleep(0.5)  # what the killed process had asked for is answered
    bucket.pause_s = 0.0
    bucket.read.clear()
    assert download(bucket, tmp_path / "copy").returncode == 0
    assert all(same(tmp_path, log) for log in LOGS)
    assert len(bucket.read) == len(arrived(tmp_path)) - kept


def test_an_object_damaged_on_its_way_is_fetched_again(bucket: PublicBucket, tmp_path: Path) -> None:
    bucket.damage[f"{LOGS[0]}/city_SE3_egovehicle.feather"] = 2
    assert download(bucket, tmp_path / "copy").returncode == 0
    assert same(tmp_path, LOGS[0])


def test_an_object_that_is_always_damaged_is_told_and_the_other_logs_arrive(
    bucket: PublicBucket, tmp_path: Path
) -> None:
    bucket.damage[f"{LOGS[0]}/city_SE3_egovehicle.feather"] = 99
    result = download(bucket, tmp_path / "copy")
    assert result.returncode == 1
    assert "download failed for 1 of 3 logs (the others are complete)" in result.stderr
    assert re.search(f"log {LOGS[0]}: .*city_SE3_egovehicle.feather arrived damaged 3 times", result.stderr)
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "copy/sensor/val" / LOGS[0]).exists()
    assert all(same(tmp_path, log) for log in LOGS[1:])


def test_a_file_damaged_on_disk_is_mended(bucket: PublicBucket, tmp_path: Path) -> None:
    download(bucket, tmp_path / "copy")
    file = next((tmp_path / "copy/sensor/val" / LOGS[1]).glob("sensors/lidar/*"))
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    bucket.read.clear()
    assert "1 files are new" in download(bucket, tmp_path / "copy").stdout
    assert [Path(key).name for key in bucket.read] == [file.name]
    assert same(tmp_path, LOGS[1])


def test_an_object_that_was_uploaded_in_parts(bucket: PublicBucket, tmp_path: Path) -> None:
    log = LOGS[0]
    raster = next((tmp_path / "origin/sensor/val" / log).glob("map/*.npy"))
    np.save(raster, np.random.default_rng(0).integers(0, 9, 9 * 2**20, dtype=np.uint8))
    content = raster.read_bytes()
    length = 5 * 2**20
    bucket.put_in_parts(f"sensor/val/{log}/map/{raster.name}", [content[:length], content[length:]])
    assert download(bucket, tmp_path / "copy", "--logs", log).returncode == 0
    assert same(tmp_path, log)
    bucket.damage[raster.name] = 99
    shutil.rmtree(tmp_path / "copy")
    assert "arrived damaged 3 times" in download(bucket, tmp_path / "copy", "--logs", log).stderr


def test_a_server_that_breaks_off_is_one_sentence(bucket: PublicBucket, tmp_path: Path) -> None:
    bucket.broken.add(f"{LOGS[0]}/city_SE3_egovehicle.feather")
    result = download(bucket, tmp_path / "copy", "--logs", LOGS[0])
    assert result.returncode == 1
    assert "cannot be reached or broke off" in result.stderr
    assert "what has arrived is kept" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_is_not_there_is_one_sentence(bucket: PublicBucket, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/argoverse/datasets/av2"
    result = download(bucket, tmp_path / "copy", "--source", nowhere)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert re.match(r"error: http://127\.0\.0\.1:\d+ cannot be reached.*check network and proxy", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--logs", "none"), "the split has no log 'none'"),
        (("--split", "test"), "has no logs under datasets/av2/sensor/test"),
        (("--source", "argoverse"), "the source must be https://"),
        (("--source", "{url}/../../none"), "404"),
    ],
)
def test_bad_wishes_are_one_sentence(
    arguments: tuple[str, str], message: str, bucket: PublicBucket, tmp_path: Path
) -> None:
    wish = [text.replace("{url}/../..", bucket.endpoint) for text in arguments]
    result = download(bucket, tmp_path / "copy", *wish)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_a_root_it_says_where_to_name_one(bucket: PublicBucket, tmp_path: Path) -> None:
    nameless = {name: value for name, value in environment(tmp_path).items() if name != "AV2_ROOT"}
    result = subprocess.run(command(bucket), env=nameless, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: no folder is named for the logs; set AV2_ROOT or av2_root in compute.yaml\n"


def test_a_full_disk_is_told_before_anything_is_fetched(
    bucket: PublicBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.fetching.bucket import Bucket
    from stages.fetching.split import fetch_logs

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
    with pytest.raises(InputError, match=r"sensor/val, 3 logs, needs about .* GB, and .* has 1e-08 GB free"):
        fetch_logs(Bucket(bucket.url), "sensor", "val", tmp_path / "copy", "", 2)
    assert bucket.read == []


def test_two_downloads_into_one_folder(bucket: PublicBucket, tmp_path: Path) -> None:
    bucket.pause_s = 0.2
    slow = command(bucket, "--connections", "1")
    first = subprocess.Popen(slow, env=environment(tmp_path / "copy"), stderr=subprocess.DEVNULL)
    while not bucket.read:
        time.sleep(0.01)
    assert "another download is at work" in download(bucket, tmp_path / "copy").stderr
    assert first.wait() == 0


def test_an_interrupt_keeps_what_has_arrived(bucket: PublicBucket, tmp_path: Path) -> None:
    bucket.pause_s = 0.2
    ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command(bucket, "--connections", "1"), env=environment(tmp_path / "copy"), stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, ignored)
    while len(arrived(tmp_path)) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=10)[1]
    assert process.returncode == 130
    assert "what has arrived is kept" in text
    assert "Traceback" not in text


def test_choices_of_logs() -> None:
    assert choose_logs(["a", "b", "c"], "") == ["a", "b", "c"]
    assert choose_logs(["a", "b", "c"], "9") == ["a", "b", "c"]
    assert choose_logs(["a", "b", "c"], "c,a") == ["a", "c"]


def test_many_ids_are_longer_than_a_files_name_may_be() -> None:
    known = [f"{digit * 8}-2222-3333-4444-555555555555" for digit in "abcdefg"]
    assert choose_logs(known, ",".join(known)) == known
    with pytest.raises(InputError, match="the split has no log 'none'"):
        choose_logs(known, ",".join([*known, "none"]))
    with pytest.raises(InputError, match="the split has no log 'aaaaaaaa-"):  # as from another split
        choose_logs(["another"], ",".join(known))


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (b"<ListBucketResult><Contents>", 1000, "cannot be reached or broke off (ChunkedEncodingError)"),
        (b"<html>Log in<br></html>", 23, "does not answer as S3 does; check the address and the proxy"),
        (b"<html>Log in</html>", 19, "does not answer as S3 does; check the address and the proxy"),
        (b"", 0, "does not answer as S3 does; check the address and the proxy"),
    ],
)
def test_a_listing_that_breaks_off_or_is_none(body: bytes, length: int, message: str, tmp_path: Path) -> None:
    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as portal:
        threading.Thread(target=portal.serve_forever, daemon=True).start()
        command = [sys.executable, "-m", "stages.download", "--split", "val", "--source"]
        source = f"http://127.0.0.1:{portal.server_port}/argoverse/av2"
        result = subprocess.run(
            [*command, source], env=environment(tmp_path / "copy"), capture_output=True, text=True, check=False
        )
        portal.shutdown()
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
