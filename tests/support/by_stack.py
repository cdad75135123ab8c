"""Which tests run beside which: those at one stack go to one worker, in their order."""

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

# Files of tests/stack and tests/clients, or a folder of them, whose stack no other file uses -> a name for it. All
# others share one, the fixture `running`.
OWN = {name: name for name in ("any_image", "bench", "pods", "postgres", "reviewer", "signing", "slicer", "tls")}
OWN |= {"bad_input": "user", "up": "user"}
SHARED, SEVERAL = "running", "several"


def stack(path: PurePath) -> str:
    """The name of the stack that a file's tests need."""
    return SEVERAL if path.parent.name == SEVERAL else OWN.get(path.stem.removeprefix("test_"), SHARED)


class ByStack(LoadScopeScheduling):
    """pytest-xdist's scheduling by scope, with a stack as the scope."""

    def _split_scope(self, nodeid: str) -> str:
        return stack(PurePath(nodeid.partition("::")[0]))
