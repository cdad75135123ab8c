"""Which tests run beside which: those at one stack go to one worker, in their order."""

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

# Files of tests/stack and tests/clients whose stack no other file uses -> a name for it.
OWN = {name: name for name in ("any_image", "bench", "pods", "reviewer", "signing", "slicer", "tls")}
OWN |= {"bad_input": "user", "up": "user"}
# Their files share one, several its own and viewer another one of the fixture `running`.
FOLDERS = ("several", "viewer")
# The fixture `running`, for all others.
SHARED = "running"


def stack(path: PurePath) -> str:
    """The name of the stack that a file's tests need."""
    return path.parent.name if path.parent.name in FOLDERS else OWN.get(path.stem.removeprefix("test_"), SHARED)


class ByStack(LoadScopeScheduling):
    """pytest-xdist's scheduling by scope, with a stack as the scope."""

    def _split_scope(self, nodeid: str) -> str:
        return stack(PurePath(nodeid.partition("::")[0]))
