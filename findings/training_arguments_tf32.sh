#!/usr/bin/env bash
# TrainingArguments(tf32=False) leaves convolutions in TF32, and after tf32=True reading torch's old switch raises.
#
# transformers sets the one switch `torch.backends.fp32_precision`, which the switch of cuDNN's convolutions, `tf32` by
# default, does not follow; torch refuses to read `torch.backends.cuda.matmul.allow_tf32` once old and new disagree.
# And importing speechbrain turns TF32 on for products too, in the whole process. All of it is read without a GPU.
# Exits 0 while this holds, 1 once one of these has changed. Needs Python 3.11 or later and 10 GB of disk.
set -eu
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 torchaudio==2.11.0 transformers==5.24.0 accelerate==1.15.0 \
  speechbrain==1.1.2 2>&1 | grep -v "notice" || true
cd "$folder" && venv/bin/python - <<'P'
import sys

import torch
import transformers
from transformers import TrainingArguments
from transformers.training_args import enable_tf32

backends = torch.backends


def switches():
    found = {
        "all": backends.fp32_precision,
        "matmul": backends.cuda.matmul.fp32_precision,
        "conv": backends.cudnn.conv.fp32_precision,
        "rnn": backends.cudnn.rnn.fp32_precision,
    }
    try:
        found["old matmul"] = backends.cuda.matmul.allow_tf32
    except RuntimeError:
        found["old matmul"] = "RuntimeError"
    return found


print(f"torch {torch.__version__}, transformers {transformers.__version__}")
print("at first:                     ", switches())
# Where torch sees no GPU the arguments refuse tf32=True; this is what they call where it does.
if torch.cuda.is_available():
    TrainingArguments("out", tf32=False)
else:
    TrainingArguments("out", use_cpu=True)
    enable_tf32(False)
off = switches()
print("TrainingArguments(tf32=False):", off)
enable_tf32(True)
on = switches()
print("TrainingArguments(tf32=True): ", on)
backends.fp32_precision = "none"
import speechbrain  # noqa: E402

imported = switches()
print(f"import speechbrain {speechbrain.__version__}:    ", imported)
held = {
    "tf32=False leaves convolutions in TF32": off["matmul"] == "ieee" and off["conv"] == "tf32",
    "after tf32=True the old switch cannot be read": on["old matmul"] == "RuntimeError",
    "importing speechbrain turns TF32 on for products": imported["matmul"] == "tf32",
}
for what, holds in held.items():
    print(f"{'holds' if holds else 'CHANGED'}: {what}")
sys.exit(0 if all(held.values()) else 1)
P
