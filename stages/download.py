# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Download Argoverse 2 logs from the public bucket: lidar, poses, mounts, boxes and maps; no cameras, no account.

It goes on where it was, and run again on complete logs it checks every file. Logs lie under the AV2 root
(AV2_ROOT or av2_root in compute.yaml) as the pipeline reads them.
"""

import argparse
import sys

from models.errors import InputError
from stages.fetching.bucket import Bucket
from stages.fetching.split import fetch_logs
from stages.pipeline.compute import compute
from stages.pipeline.main import SPLITS

SOURCE = "https://s3.amazonaws.com/argoverse/datasets/av2"


def download(arguments: argparse.Namespace) -> str:
    """Fetch the logs and say how many there are now."""
    root = compute().av2_root
    if root is None:
        raise InputError("no folder is named for the logs; set AV2_ROOT or av2_root in compute.yaml")
    others = [name for name in ("sensor", "lidar") if name != arguments.dataset and (root / name).is_dir()]
    if others:
        raise InputError(f"{root} holds the data set {others[0]}; take another AV2_ROOT for {arguments.dataset}")
    bucket = Bucket(arguments.source)
    logs, files = fetch_logs(bucket, arguments.dataset, arguments.split, root, arguments.logs, arguments.connections)
    return f"{logs} logs are complete under {root / arguments.dataset / arguments.split}, {files} files are new"


def main() -> int:
    """Command line; the exit code is 0 when every log is complete."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__, formatter_class=formatter)
    parser.add_argument("--dataset", choices=("sensor", "lidar"), default="sensor", help="default: %(default)s")
    parser.add_argument("--split", choices=SPLITS, required=True)
    parser.add_argument("--logs", default="", help="a number, ids with commas, or a file of ids; all by default")
    parser.add_argument("--source", default=SOURCE, help="a folder in a bucket (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="files at once (default: %(default)s)")
    try:
        sys.stdout.write(download(parser.parse_args()) + "\n")
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("\ndownload was interrupted; what has arrived is kept\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
