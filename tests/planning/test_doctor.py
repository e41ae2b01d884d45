"""The findings of doctor, and the machine in words."""

import dataclasses

import pytest
import torch

from videosieve.errors import MetricError
from videosieve.metrics import METRICS
from videosieve.planning.doctor import examine
from videosieve.planning.machine import describe_machine, describe_versions


def test_doctor_looks_at_everything_and_says_why_not():
    findings = examine()
    assert {finding.topic for finding in findings} == {"machine", "packages", "kernels", "metrics", "models"}
    ready = {finding.name for finding in findings if finding.ready}
    assert {"cpu", "torch", "ffmpeg", "block_sparse_attention / reference"} <= ready
    assert all(finding.detail for finding in findings if not finding.ready)


def test_doctor_lists_every_metric_and_why_one_is_missing(monkeypatch: pytest.MonkeyPatch):
    def missing(_: object) -> None:
        raise MetricError("no weights here")

    monkeypatch.setitem(METRICS, "lpips", dataclasses.replace(METRICS["lpips"], require=missing))
    found = {finding.name: finding for finding in examine() if finding.topic == "metrics"}
    assert list(found) == list(METRICS)
    assert (found["psnr"].ready, found["psnr"].detail) == (True, "higher is better")
    assert (found["lpips"].ready, found["lpips"].detail) == (False, "no weights here")


def test_doctor_has_a_sample_call_for_every_kernel():
    assert [finding.name for finding in examine() if "no sample call" in finding.detail] == []


def test_the_machine_is_described_in_words():
    described = describe_machine(torch.device("cpu"))
    assert described["device"] == "cpu"
    assert all(described.values())
    assert {"videosieve", "torch", "diffusers", "python"} <= set(describe_versions())
