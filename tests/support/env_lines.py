"""`.env` as people write it, and what LABELPOD_BUNDLES is in it to Docker Compose."""

LINES_OF_PEOPLE = {
    "\ufeffLABELPOD_BUNDLES=a\n": "a",
    "# mine\r\nLABELPOD_BUNDLES=a\r\n": "a",
    "export LABELPOD_BUNDLES=a\n": "a",
    "  export   LABELPOD_BUNDLES=a\n": "a",
    "LABELPOD_BUNDLES = a\n": "a",
    "LABELPOD_BUNDLES\t=\ta \n": "a",
    "LABELPOD_BUNDLES='a' # mine\n": "a",
    'LABELPOD_BUNDLES = "a"# mine\n': "a",
    "LABELPOD_BUNDLES=a # mine\n": "a",
    "LABELPOD_BUNDLES=a\nexport LABELPOD_BUNDLES = b\n": "b",
}
