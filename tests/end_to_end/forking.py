"""Forks a child for every command that comes in on stdin (a JSON object a line) and answers with how the child ended.

The child kills itself with SIGKILL at a rename that the order names: an audit hook sees it before it happens, so nothing of the
product is changed, and every file is in the state in which a power cut at that moment would leave it. Within training no file
takes its place; there it is a step of the optimiser.
"""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

# Slow to import, and the same in every child.
import torch
import transformers.models.llama.modeling_llama
import transformers.trainer  # noqa: F401
from torch.optim.optimizer import register_optimizer_step_pre_hook

from distill_gov.cli import run_arguments
from distill_gov.records.keys import KeyRing
from redaction import Redactor


def die_at(pattern: str, nth: int) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "os.rename" and fnmatch.fnmatch(os.fspath(arguments[1]), pattern):
            seen += 1
            if seen == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def die_in_training(nth: int) -> None:
    seen = 0

    def hook(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_pre_hook(hook)


def child(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order["step"]:
        die_in_training(order["step"])
    elif order["at"]:
        die_at(order["at"], order["nth"])
    code = run_arguments(order["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    # The language model and its lexicon are loaded once a process.
    Redactor.from_policy(Path(sys.argv[1]) / "redaction.yaml", KeyRing.load(Path(sys.argv[1]) / ".distill-gov" / "keys"))
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(order)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
