"""A stdio MCP server in plain Python that offers what a JSON file says: `python offering.py OFFER.json`.

OFFER has "tools", "resources", "prompts" (lists; none means that the capability is not declared), "version", "page"
(entries a page) and "mode", a way to misbehave: "die", "hang", "error", "no-list", "endless", "noisy". What it is asked
goes to the file named by OFFERING_LOG, one method a line. Every tool answers with its own name.
"""

import json
import os
import sys
import time


def say(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def answer(offer: dict, method: str, params: dict) -> dict:
    if method == "initialize":
        capabilities = {key: {} for key in ("tools", "resources", "prompts") if key in offer}
        info = {"name": "offering", "version": offer.get("version", "1")}
        return {"protocolVersion": params["protocolVersion"], "capabilities": capabilities, "serverInfo": info}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": params["name"]}], "isError": False}
    kind = method.partition("/")[0]
    if not method.endswith("/list"):
        return {}
    if offer.get("mode") == "no-list":
        return {}
    start, size = int(params.get("cursor") or 0), offer.get("page", 1000)
    more = start + size < len(offer[kind]) or offer.get("mode") == "endless"
    return {kind: offer[kind][start : start + size], **({"nextCursor": str(start + size)} if more else {})}


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        offer = json.load(file)
    mode = offer.get("mode")
    if mode == "die":
        print("offering: starting\noffering: no ledger, token=" + "ghp_" + "Z9" * 18, file=sys.stderr)
        sys.exit(7)
    for line in sys.stdin:
        message = json.loads(line)
        if os.environ.get("OFFERING_LOG"):
            with open(os.environ["OFFERING_LOG"], "a", encoding="utf-8") as file:
                file.write(f"{message.get('method')}\n")
        if "method" not in message or "id" not in message:
            continue
        if mode == "hang":
            time.sleep(60)
        if mode == "noisy":
            print("this is no message", flush=True)
            say(method="notifications/message", params={"level": "info", "data": "hello"})
            say(id="a", method="ping")
            say(id="b", method="roots/list")
        if mode == "error" and message["method"] == "tools/list":
            say(id=message["id"], error={"code": -32000, "message": "the ledger is locked"})
        else:
            say(id=message["id"], result=answer(offer, message["method"], message.get("params") or {}))


if __name__ == "__main__":
    main()
