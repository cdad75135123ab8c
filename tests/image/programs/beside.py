"""One image that takes long keeps no other waiting."""

import threading

import deepgrow_tasks  # noqa: F401, the sample app is found through it

from label_server.radiology.infers import deepgrow

volumes, began, end = deepgrow.Volumes(), threading.Event(), threading.Event()
slow = threading.Thread(
    target=volumes.get, args=(("slow", 1), lambda: began.set() or (end.wait(60) and {})), daemon=True
)
slow.start()
assert began.wait(60)
quick = threading.Thread(target=volumes.get, args=(("quick", 1), dict), daemon=True)
quick.start()
quick.join(30)
assert not quick.is_alive() and slow.is_alive()
end.set()
slow.join(30)
assert not slow.is_alive()
print("done")
