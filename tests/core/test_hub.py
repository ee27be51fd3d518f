"""Without a network, what must be downloaded ends at once in one error; what was downloaded before is used."""

import socket
import time

import pytest
from huggingface_hub import constants

from gwaudit.core.errors import DataError, ModelError
from gwaudit.core.hub import only_cached_if_unreachable
from gwaudit.data.loading import load_dataset
from gwaudit.training.frozen_features import embed_texts
from gwaudit.training.models import build_model


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def texts(tmp_path):
    file = tmp_path / "texts.csv"
    file.write_text("text,label\n" + "a b,x\nc d,y\n" * 5)
    return load_dataset(file, text_column="text")


@pytest.mark.parametrize("what", ["weights", "encoder", "data"])
def test_a_missing_download_is_one_error_at_once(what, tmp_path, caplog, capfd):
    began = time.process_time()
    if what != "weights":
        pytest.importorskip(
            {"encoder": "sentence_transformers", "data": "datasets"}[what], reason="needs the test extra"
        )
    downloads = {
        "weights": lambda: build_model("resnet18", n_classes=3, in_chans=3, pretrained=True),
        "encoder": lambda: embed_texts(texts(tmp_path), "sentence-transformers/no-such-encoder"),
        "data": lambda: load_dataset("hf:nobody/nothing"),
    }
    with pytest.raises((ModelError, DataError)) as caught:
        downloads[what]()
    assert f"{constants.ENDPOINT} cannot be reached" in str(caught.value)
    assert "before: connect to the network, or name " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Retry" not in caplog.text + "".join(capfd.readouterr())
    assert time.process_time() - began < 30


def test_the_hub_is_used_again_when_it_can_be_reached(monkeypatch):
    with only_cached_if_unreachable() as unreachable:
        assert unreachable
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    monkeypatch.setattr("huggingface_hub.get_session", lambda: type("Session", (), {"head": lambda *a, **o: None})())
    with only_cached_if_unreachable() as unreachable:
        assert unreachable == ""
        assert not constants.HF_HUB_OFFLINE


def test_offline_mode_is_kept(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with only_cached_if_unreachable() as unreachable:
        assert unreachable == "HF_HUB_OFFLINE is set"
    assert constants.HF_HUB_OFFLINE
