"""Values that would do something if they were taken for more than data: the file must not come to be."""

HOSTILE = [
    'a$(touch {file})"',
    "`touch {file}`",
    "';touch {file};'",
    "a\ntouch {file}\n",
    '"; touch {file} #',
    "$IFS\\",
    "\\",
]
