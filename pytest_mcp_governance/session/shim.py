"""The pipe between an agent's stdio and the recorder: bytes in, bytes out. Run as `python -I -S shim.py TOKENFILE`.

Standard library only, and nothing of this package: it starts in milliseconds and parses nothing. One is started for
every connection of every test, so it takes the interpreter's own `_socket` and `_thread`: the modules in front of them
import forty others, which takes as long as the whole interpreter does to start.
"""

import _socket
import _thread
import os
import sys


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        path, token = file.read().split("\n")[:2]
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        link.connect(path)
    except OSError as error:
        sys.stderr.write(f"mcp-governance: the recorder is gone ({error.strerror}); the audited session has ended\n")
        return 3
    link.sendall(token.encode() + b"\n")
    _thread.start_new_thread(_upward, (link,))
    try:
        while chunk := link.recv(65536):
            view = memoryview(chunk)
            while view:
                view = view[os.write(1, view) :]
    except OSError:
        return 3
    return 0


def _upward(link: _socket.socket) -> None:
    try:
        while chunk := os.read(0, 65536):
            link.sendall(chunk)
        link.shutdown(_socket.SHUT_WR)
    except OSError:
        return


if __name__ == "__main__":
    os._exit(main())  # the other thread may be blocked in read; nothing is buffered
