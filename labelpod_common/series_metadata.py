"""Names of the metadata of series in Orthanc that label servers share, as templates/orthanc.json.j2 registers them."""

LEASE, REVIEW, CONFIRMED = "labelpod-lease", "labelpod-review", "labelpod-confirmed"
