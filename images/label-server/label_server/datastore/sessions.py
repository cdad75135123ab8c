"""Sessions: images that a user uploads to work on, for as long as they are used; nobody else sees them."""

import logging
import uuid
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

from label_server import users
from label_server.errors import Refused
from label_server.settings import MAX_VOLUME_BYTES
from label_server.users import Role

logger = logging.getLogger(__name__)

# Bytes on disk: what one user's sessions may take, and all of them together.
_PER_USER = 4 * MAX_VOLUME_BYTES
_ALL = 4 * _PER_USER
_OWNER = "owner"


class OwnedSessions(Sessions):
    """Upstream's sessions with owners, bounded in size.

    Upstream names them by time and machine, so that they can be guessed, and gives and deletes them for anybody
    (monailabel 0.8.5, utils/sessions.py:131).
    """

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Keep an image for the user who asks; their longest unused sessions make way for it.

        Raises:
            Refused: the sessions of all users take too much.

        """
        self._make_room(Path(data_file).stat().st_size)
        name, session = super().add_session(data_file, expiry, False, str(uuid.uuid4()))
        session.meta[_OWNER] = users.current.get().name
        self._write_meta_info(name, session)
        return name, session

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """A session of the user who asks, None if there is no such; an admin, and the server itself, see all."""
        session: SessionInfo | None = super().get_session(session_id, False, fetch_cache)
        user = users.current.get()
        if session is None or (user.role < Role.ADMIN and session.meta.get(_OWNER) != user.name):
            return None
        return super().get_session(session_id, update_ts, fetch_cache)

    def _make_room(self, size: int) -> None:
        everything = sorted(self._kept(), key=lambda each: Path(each.path, "meta.info").stat().st_mtime_ns)
        mine = [each for each in everything if each.meta.get(_OWNER) == users.current.get().name]
        taken = {each.name: _size(each) for each in everything}
        while mine and sum(taken[each.name] for each in mine) + size > _PER_USER:
            oldest = mine.pop(0)
            logger.info(f"Session {oldest.name} makes way for another of its owner")
            self.remove_session(oldest.name)
            del taken[oldest.name]
        if sum(taken.values()) + size > _ALL:
            raise Refused("the uploads of all users take too much: try again later")

    def _kept(self) -> list[Any]:
        store = Path(self.store_path)
        names = [each.name for each in store.iterdir() if each.is_dir()] if store.is_dir() else []
        found = (Sessions.get_session(self, name, False) for name in names)
        return [each for each in found if each]


def _size(session: SessionInfo) -> int:
    try:
        return Path(session.image).stat().st_size
    except OSError:  # removed meanwhile
        return 0
