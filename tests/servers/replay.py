"""An MCP server that is one in name only: for each line that it is sent it writes the next line of a file, as it is.

`python replay.py RECEIVED ANSWERS`: what came in goes to the file RECEIVED, the answers come from ANSWERS.
"""

import sys


def main(received: str, answers: str) -> None:
    with open(received, "wb") as log, open(answers, "rb") as prepared:
        for line, answer in zip(sys.stdin.buffer, prepared, strict=False):
            log.write(line)
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
