"""Latents lie beside a run with a checksum, and damage to them is named."""

import numpy as np
import pytest

from gwaudit.core.errors import StoreDamagedError
from gwaudit.store.latents import has_latents, read_latents, write_latents


def test_latents_come_back_with_length_one(tmp_path):
    values = np.array([[3.0, 4.0], [1e6, 0.0], [0.0, 0.0]])
    assert read_latents(tmp_path) is None
    write_latents(tmp_path, values, {"nearly_equal": [[0, 1]]})
    assert has_latents(tmp_path)
    read = read_latents(tmp_path)
    assert read is not None
    np.testing.assert_allclose(read[0], [[0.6, 0.8], [1, 0], [0, 0]], atol=1e-3)
    assert read[1] == {"nearly_equal": [[0, 1]]}


@pytest.mark.parametrize("name", ["values.npy", "contents.json"])
def test_damage_is_named(tmp_path, name):
    write_latents(tmp_path, np.eye(4), {})
    path = tmp_path / "latents" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StoreDamagedError, match=r"latents is damaged .* delete that folder"):
        read_latents(tmp_path)
