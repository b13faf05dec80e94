"""Stands in for an encoder: records how it is called, then does what its plan says.

Called by a small shell script under the encoder's name: ``program.py PLAN.json ARGUMENTS...``. The plan:
``probe`` and ``version`` (what it prints when asked), ``log`` (one JSON line a call), ``answer`` (a file it copies to
stdout, or to the file behind ``-o`` where ``to_file``), ``slow`` (calls from this number on sleep for a minute),
``complaint``, ``code``.
"""

import json
import os
import sys
import time
from pathlib import Path

plan = json.loads(Path(sys.argv[1]).read_text())
arguments = sys.argv[2:]
if arguments == plan["probe"]:
    print(plan["version"], file=sys.stderr)
    sys.exit()
received = sys.stdin.buffer.read(32)
if not plan["deaf"]:
    sys.stdin.buffer.read()
log = Path(plan["log"])
with log.open("a") as stream:
    print(json.dumps({"argv": arguments, "stdin": received.hex(), "pid": os.getpid()}), file=stream, flush=True)
    # Where its own line ends, not the file: others, started at the same time, may have written theirs since.
    call = log.read_bytes()[: stream.tell()].count(b"\n")
if plan["slow"] is not None and call > plan["slow"]:
    time.sleep(60)
print(plan["complaint"], file=sys.stderr)
if plan["answer"] is not None:
    answer = Path(plan["answer"]).read_bytes()
    if plan["to_file"]:
        Path(arguments[arguments.index("-o") + 1]).write_bytes(answer)
    else:
        sys.stdout.buffer.write(answer)
sys.exit(plan["code"])
