"""Proof, at build time, that the image serves our app: it is asked for a label list nobody has thought of."""

import os
import sys
import tempfile
from pathlib import Path

INVENTED = "zebra7:2,quagga:1"


def main() -> None:
    """Load the app as MONAI Label does, and fail unless /info would show the invented list."""
    os.environ.update(APP="radiology", LABELS=INVENTED)
    from monailabel.interfaces.utils.app import app_instance

    from label_server.startup import lay_out

    with tempfile.TemporaryDirectory() as workspace:
        folder = lay_out(Path(workspace), "radiology")
        studies = Path(workspace, "studies")
        conf = {"models": "deepgrow_2d,deepgrow_3d", "sam2": "false", "use_pretrained_model": "false"}
        info = app_instance(str(folder), str(studies), conf).info()
    served = info["labels"]
    if served != ["zebra7", "quagga"]:
        sys.exit(f"The image does not serve our app: asked for {INVENTED}, /info shows {served}")
    print(f"The image serves our app: {served}, models {sorted(info['models'])}")


if __name__ == "__main__":
    main()
