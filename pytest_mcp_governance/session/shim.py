"""The pipe between an agent's stdio and the recorder: bytes in, bytes out. Run as `python -I -S shim.py TOKENFILE`.

Standard library only, and nothing of this package: it starts in milliseconds and parses nothing.
"""

import os
import socket
import sys
import threading


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        path, token = file.read().split("\n")[:2]
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(path)
    except OSError as error:
        sys.stderr.write(f"mcp-governance: the recorder is gone ({error.strerror}); the audited session has ended\n")
        return 3
    link.sendall(token.encode() + b"\n")
    threading.Thread(target=_upward, args=(link,), daemon=True).start()
    try:
        while chunk := link.recv(65536):
            view = memoryview(chunk)
            while view:
                view = view[os.write(1, view) :]
    except OSError:
        return 3
    return 0


def _upward(link: socket.socket) -> None:
    try:
        while chunk := os.read(0, 65536):
            link.sendall(chunk)
        link.shutdown(socket.SHUT_WR)
    except OSError:
        return


if __name__ == "__main__":
    os._exit(main())  # the other thread may be blocked in read; nothing is buffered
