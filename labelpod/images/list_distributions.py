"""Lists the Python packages that are installed, as JSON; runs in an image, by the image's own Python."""

import json
from importlib.metadata import distributions

print(
    json.dumps(
        [
            {
                "name": each.metadata["Name"],
                "version": each.version,
                "expression": each.metadata["License-Expression"] or "",
                "licence": each.metadata["License"] or "",
                "classifiers": [c for c in each.metadata.get_all("Classifier") or [] if c.startswith("License ::")],
            }
            for each in distributions()
        ]
    )
)
