"""Runs the measurements, and writes what came out; bench/run.py says how."""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import annotators, database, image, inference, lists, pushing, report, samples, sizing, starting, viewer
from bench.sizes import SMOKE, Sizes
from bench.stand import stand
from tests.support.paths import ROOT

PARTS = {
    "starting": starting,
    "samples": samples,
    "lists": lists,
    "inference": inference,
    "pushing": pushing,
    "database": database,
    "image": image,
    "viewer": viewer,
    "annotators": annotators,
}
_LEFT_OUT = [
    "upstream's lists beyond 200 labelled studies: at 2,000 each answer takes it a minute",
    "saving in upstream's viewer: nothing there saves",
]


def main() -> None:
    """Measure, and write what came out."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for benchmark.md, .json and .png")
    parser.add_argument("--gpu", type=Path, metavar="FILE", help="take up what bench/gpu.sh measured, and end")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    arguments = parser.parse_args()
    if arguments.gpu:
        report.take_up(arguments.gpu, _LEFT_OUT, arguments.output)
        return
    sizes = SMOKE if arguments.smoke else Sizes()
    parts = arguments.parts or list(PARTS)
    rows = [row for row in report.read(arguments.output) if row.part not in parts]
    with stand() as both, tempfile.TemporaryDirectory() as folder:
        for name in parts:
            for row in (replace(each, part=name) for each in PARTS[name].measure(both, sizes, Path(folder))):
                print(f"{row.what}: {row.ours:.3g} {row.unit} by {row.theirs:.3g}: {row.ratio:.3g}", flush=True)
                rows.append(row)
            # After each part: a run that is interrupted has measured something.
            report.write(sorted(rows, key=lambda row: list(PARTS).index(row.part)), _LEFT_OUT, arguments.output)
    if "annotators" in parts and (document := arguments.output / "several-servers.md").exists():
        sizing.write(document, sizes.click)


if __name__ == "__main__":
    main()
