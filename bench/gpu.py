"""Measures our label server on a GPU, without a network and without a PACS; bench/gpu.sh says how.

`python -m bench.gpu --output FILE.json [PART...]`. One run is one condition: the card as it is, held to the memory of
a smaller one, or with parts of torch's installation hidden. A part that fails is put on record with its error, and
the others go on; the file is written after each part, and keeps what earlier runs wrote into it.
"""

import argparse
import logging
import sys
import tempfile
import traceback
from pathlib import Path

from bench.gpu_results import Results

PARTS = ("clicks", "same", "together", "room", "training", "sam2")


def main() -> None:
    """Measure, and write what came out."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    parser.add_argument("--condition", default="GPU", help="what the figures of this run are called")
    parser.add_argument("--gigabytes", type=float, help="memory of the card that is stood in for")
    parser.add_argument("--hide", nargs="*", default=[], metavar="MODULE", help="Python finds none of that name")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and images, to see that it runs")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    arguments = parser.parse_args()
    for name in arguments.hide:
        sys.modules[name] = None  # type: ignore[assignment]  # None: Python finds no such module
    logging.disable(logging.INFO)
    results = Results(arguments.output, arguments.condition)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            _measure(results, arguments, Path(folder))
        except Exception as error:  # the server does not even start
            _failed(results, "start", error)
        results.write()


def _measure(results: Results, arguments: argparse.Namespace, folder: Path) -> None:
    # Only now: they import torch, which looks for what may be hidden.
    from bench import gpu_card, gpu_parts, gpu_server

    parts = arguments.parts or list(PARTS)
    sizes = gpu_server.TINY if arguments.tiny else gpu_server.Sizes()
    results.machine(gpu_card.versions())
    gpu_card.hold_to(arguments.gigabytes)
    with gpu_server.running(folder, sizes, sam2="sam2" in parts) as server:
        for part in parts:
            print(f"{arguments.condition}: {part}", flush=True)
            try:
                getattr(gpu_parts, part)(server, results)
            except Exception as error:
                _failed(results, part, error)
            results.libraries(gpu_card.libraries())
            results.write()


def _failed(results: Results, part: str, error: Exception) -> None:
    traceback.print_exc()
    results.problem(part, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    main()
