"""The benchmark of one causal kernel call: its check finds a wrong output, its figure is speed-up × density."""

import pytest
import torch

from benchmarks import causal_kernel
from videosieve.methods.oracle import RandomBlocks


def test_a_line_has_the_density_and_the_share_of_the_ideal(capsys):
    words = ["--tokens", "520", "--heads", "6", "--key-heads", "2", "--head-dim", "32", "--repeats", "1"]
    causal_kernel.main([*words, "--density", "0.5", "--block", "64", "--dtype", "float32"])
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line[:6] == ["520", "6", "/", "2", "float32", "64"]
    density, speedup, share = float(line[6]), float(line[9]), float(line[10])
    assert 0.4 < density < 0.6
    assert share == pytest.approx(speedup * density, abs=0.02)


def test_a_wrong_output_ends_it(monkeypatch):
    call = causal_kernel.make_call(300, 4, 2, 16, torch.float32)
    chosen = RandomBlocks(density=0.4, block=32, causal=True).select(call, None)[0]
    causal_kernel.check(call, chosen)
    other = RandomBlocks(density=0.4, block=32, causal=True, seed=1).select(call, None)[0]
    attend = causal_kernel.attend_selected
    monkeypatch.setattr(causal_kernel, "attend_selected", lambda one, _: attend(one, other))
    with pytest.raises(SystemExit, match="wrong by .* against fp64"):
        causal_kernel.check(call, chosen)
