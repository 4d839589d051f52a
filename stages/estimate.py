# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Flow of anybody's clouds: two sweeps or a folder of them in, the same clouds with flow out."""

import sys

from models.errors import InputError
from stages.terminal.interrupt import run_command


def main() -> int:
    """Write the results and say what is in them."""
    try:
        return _main()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _main() -> int:
    from stages.estimation.command import parser, request
    from stages.estimation.default_weights import DEFAULT
    from stages.estimation.findings import Teller
    from stages.estimation.formats import require_file
    from stages.estimation.write import pair_record, target, told, write_estimate, write_record
    from stages.pipeline.compute import compute
    from stages.pipeline.digest import file_digest

    given = parser().parse_args()
    asked = request(given)
    where = target(given.output, asked.files)
    from models.device import choose_device, device_name
    from stages.estimation.network import load_network
    from stages.estimation.picture import draw
    from stages.estimation.run import estimates

    weights = require_file(given.weights or DEFAULT)
    device = choose_device(given.device or compute().device)
    network = load_network(weights)
    reach = max(network.grid.maximum[:2])
    teller, pairs = Teller(given.force), []
    for estimate in estimates(asked, network.to(device), device, teller):
        path = write_estimate(estimate, where, None if given.no_picture else lambda path, of: draw(path, of, reach))
        pairs.append(pair_record(estimate))
        sys.stdout.write(f"{told(path, estimate)}\n")
        sys.stdout.flush()
    made_by = {"weights": weights.name, "weights_digest": file_digest(weights), "device": device_name(device)}
    write_record(where.record(asked.files), pairs, teller.found, made_by)
    return 0


if __name__ == "__main__":
    run_command(main, "the results that are there are complete")
