"""Loading by hub id, from a small hub of our own on this machine: revisions, .bin files, no network."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS
from ser_probe.models.loading import load_backbone, save_backbone

COMMITS = {
    "main": "a" * 40, "v2": "b" * 40, "bert": "c" * 40, "whisper": "d" * 40, "adapted": "e" * 40, "settings": "f" * 40,
}  # fmt: skip

MODELS = {
    "main": "tiny-wavlm-large",
    "v2": "tiny-hubert-base",
    "bert": "tiny-wav2vec2-bert",
    "whisper": "tiny-whisper",
    "adapted": "tiny-hubert-base",
    "settings": "tiny-wav2vec2-bert",
}

# For a model with nothing but a .bin, transformers would ask a bot, from a thread of its own, to open a pull request
# there; it first asks whether the model is private. Our hub leaves that unanswered, so nothing leaves this machine.
CONVERSION_STARTS = "GET /api/models/me/model"

SCRIPT = """
import json, sys, time
from ser_probe.errors import BackboneError
from ser_probe.models.loading import load_backbone
load_backbone("tiny-hubert-base")  # the import of transformers is not what is timed
for name, revision, seed in json.loads(sys.argv[1]):
    start = time.perf_counter()
    try:
        backbone = load_backbone(name, revision=revision, random_weights=seed)
        answer = {"hash": backbone.weights_hash(), "commit": backbone.revision, "normalise": backbone.input.normalise}
        answer["name"] = backbone.name
    except BackboneError as error:
        answer = {"error": error.what, "found": str(error.found), "fix": error.fix}
    answer["seconds"] = time.perf_counter() - start
    print(json.dumps(answer))
"""


Wanted = tuple[str, str | None, int | None]


def load_in_a_new_process(wanted: list[Wanted], home: Path, **environment: str) -> list[dict[str, Any]]:
    """Load hub ids, revisions and seeds in a process of their own: transformers reads its environment on import."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_", "DISABLE_SAFETENSORS"))}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(wanted)],
        env={**kept, "HF_HOME": str(home), "NO_PROXY": "*", "no_proxy": "*", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@dataclass
class Hub:
    """A model hub with one model, me/model: a folder per revision, all requests, and tokens that came."""

    root: Path
    address: str = ""
    requests: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def find(self, path: str) -> tuple[str | None, bytes | None]:
        """Return the commit that a request path names, and the content it asks for."""
        parts = path.split("?")[0].strip("/").split("/")
        names = {**{commit: name for name, commit in COMMITS.items()}, **{name: name for name in COMMITS}}
        match parts:
            case ["api", "models", "me", "model", "revision", name] if name in names:
                commit = COMMITS[names[name]]
                return commit, json.dumps({"id": "me/model", "sha": commit, "siblings": []}).encode()
            case ["me", "model", "resolve", name, file] if name in names:
                found = self.root / names[name] / file
                return COMMITS[names[name]], found.read_bytes() if found.is_file() else None
        return None, None


@dataclass(frozen=True)
class Loaded:
    """What a process got from the hub: its answers, and the requests and tokens that came."""

    answers: list[dict[str, Any]]
    requests: list[str]
    tokens: set[str | None]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, tiny_models: dict[str, Backbone]) -> Iterator[Hub]:
    """The hub runs while these tests do. All revisions hold nothing but a .bin, as several published models do."""
    hub = Hub(tmp_path_factory.mktemp("hub"))
    for revision, name in MODELS.items():
        folder = hub.root / revision
        save_backbone(tiny_models[name], folder)
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "me/base"}
    (hub.root / "adapted" / "adapter_config.json").write_text(json.dumps(adapter))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            if self.path.startswith("/me/model/"):
                hub.tokens.add(self.headers["Authorization"])
            commit, content = hub.find(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if commit else "RevisionNotFound")
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if content is not None and self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_HEAD

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


REVISIONS = (None, "v2", COMMITS["v2"], "bert", "whisper", "adapted", "v3")
RANDOM: Wanted = ("me/model", "settings", 3)


def load_from(hub: Hub, wanted: list[Wanted], home: Path, **environment: str) -> Loaded:
    """Load in a new process, and note what the hub was asked for meanwhile."""
    hub.requests.clear()
    hub.tokens.clear()
    answers = load_in_a_new_process(wanted, home, HF_ENDPOINT=hub.address, **environment)
    return Loaded(answers, [*hub.requests], {*hub.tokens})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what was fetched is kept."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def online(hub: Hub, home: Path) -> Loaded:
    """Each revision, and random weights; one process for all, whose imports take longest."""
    wanted = [RANDOM, *(("me/model", revision, None) for revision in REVISIONS)]
    return load_from(hub, wanted, home, HF_TOKEN="hf_secret")


@pytest.fixture(scope="module")
def offline(hub: Hub, home: Path, online: Loaded) -> Loaded:
    """Random weights again, and an id that was never fetched, without a network."""
    return load_from(hub, [RANDOM, ("microsoft/wavlm-lrge", None, None)], home, HF_HUB_OFFLINE="1")


def test_a_hub_id_loads_at_its_revision(online: Loaded, tiny_models: dict[str, Backbone]) -> None:
    _, *found, adapted, absent = online.answers
    meant = ["main", "v2", "v2", "bert", "whisper"]
    assert [answer["commit"] for answer in found] == [COMMITS[revision] for revision in meant]
    assert [answer["hash"] for answer in found] == [tiny_models[MODELS[revision]].weights_hash() for revision in meant]
    assert [answer["normalise"] for answer in found] == [True, False, False, True, False]
    assert CONVERSION_STARTS not in online.requests
    assert adapted["error"] == "An adapter lies beside the model's own weights"
    assert adapted["found"] == "a LORA adapter of me/base: adapter_config.json"
    assert absent["error"].startswith("The config of 'me/model' could not be loaded from the hub")
    assert "v3" in absent["found"]


def test_random_weights_fetch_settings_alone_and_offline_the_fetched_are_used(online: Loaded, offline: Loaded) -> None:
    there, here = online.answers[0], offline.answers[0]
    assert (there["name"], there["commit"]) == ("me/model (random weights, seed 3)", COMMITS["settings"])
    assert there["hash"] == load_backbone("tiny-wav2vec2-bert", random_weights=3).weights_hash()
    asked = [request for request in online.requests if COMMITS["settings"] in request or "/settings/" in request]
    assert asked
    assert not [request for request in asked if request.endswith((".bin", ".safetensors"))]
    assert [request for request in online.requests if request.endswith(".bin")], "weights of the others are seen"
    assert (here["hash"], here["commit"], offline.requests) == (there["hash"], there["commit"], [])


def test_a_token_reaches_the_hub(online: Loaded) -> None:
    assert online.tokens == {"Bearer hf_secret"}


@pytest.mark.slow
def test_a_conversion_would_be_noticed(hub: Hub, tmp_path: Path) -> None:
    """The counter-case to the absence of `CONVERSION_STARTS` above: the request comes where somebody wants it."""
    load_in_a_new_process(
        [("me/model", None, None)], tmp_path / "home", HF_ENDPOINT=hub.address, DISABLE_SAFETENSORS_CONVERSION="0"
    )
    assert CONVERSION_STARTS in hub.requests


def test_offline_an_id_fails_at_once_with_near_matches(offline: Loaded) -> None:
    answer = offline.answers[1]
    assert answer["error"].startswith("The config of 'microsoft/wavlm-lrge' could not be loaded from the hub")
    assert "microsoft/wavlm-large" in answer["fix"]
    assert "HF_HUB_OFFLINE" in answer["fix"]
    assert answer["seconds"] < 5, "no waiting for a network: it takes milliseconds; with retries, 20 s"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN_CHECKPOINTS)
def test_known_checkpoints_are_as_the_catalogue_says(name: str) -> None:
    known, loaded = KNOWN_CHECKPOINTS[name], load_backbone(name)
    assert (loaded.family, loaded.n_layers, loaded.width) == (known.family, known.layers, known.width)
    assert loaded.pre_norm == known.pre_norm
    assert getattr(loaded.config, "feat_extract_norm", known.front_end_norm) == known.front_end_norm
    assert loaded.input.sample_rate_hz == known.sample_rate_hz
    assert known.normalise in (None, loaded.input.normalise)
    counted = sum(weight.numel() for key, weight in loaded.model.named_parameters() if key != "masked_spec_embed")
    assert counted / 1e6 == pytest.approx(known.parameters_m, rel=0.01)
