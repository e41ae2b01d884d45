"""Every op and every implementation with tensors anywhere in memory and with arguments that do not fit.

What is returned is what fp64 says, or a VideosieveError says what was wrong. Nothing else ever happens.
"""

import contextlib
import importlib
import pkgutil
import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videosieve import kernels
from videosieve.bench.check_calls import SIZES, check_calls
from videosieve.errors import VideosieveError
from videosieve.testing.kernel_inputs import OPS, draw_call
from videosieve.testing.kernel_spoils import spoil
from videosieve.testing.kernel_truth import JUDGES
from videosieve.testing.memory import poisoned
from videosieve.testing.triton_interpreter import interpreted

sources = st.randoms(use_true_random=False)
EXAMPLES = 25
TRITON_OPS = [op for op in OPS if op not in ("antidiagonal_mass", "dense_attention")]
TRITON_DTYPES = (torch.float32, torch.float16)  # the interpreter multiplies bf16 wrongly
every_op = pytest.mark.parametrize("op", OPS)


def test_every_op_is_tried():
    """An op is a package of kernels with implementations; one that is not drawn would be believed untried."""
    packages = [entry.name for entry in pkgutil.iter_modules(kernels.__path__) if entry.ispkg]
    ops = {
        name
        for name in packages
        if hasattr(importlib.import_module(f"videosieve.kernels.{name}"), "IMPLEMENTATIONS")
    }
    assert ops == set(OPS) == set(JUDGES)
    assert all({call.op for call in check_calls(size)} == ops for size in SIZES.values())  # doctor --check


def implementations(op):
    """Names of those that run on a CPU without the interpreter, the automatic choice first."""
    module = importlib.import_module(f"videosieve.kernels.{op}")
    return [None, *(i.name for i in module.IMPLEMENTATIONS if not i.name.startswith("triton"))]


def try_call(call, backend):
    """Whether it was answered, and then rightly; a refusal is a VideosieveError, and any other error is passed on."""
    try:
        with poisoned(), torch.no_grad():
            result = call.run(backend)
    except VideosieveError:
        return False
    call.judge(result, backend)
    return True


def draw_spoiled(source, op, dtypes):
    """A call with one wrong argument; None where its mask or stream could not even be made."""
    call = draw_call(source, op, dtypes)
    with contextlib.suppress(VideosieveError):
        return spoil(source, call)
    return None


def some_examples(count):
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@every_op
@some_examples(EXAMPLES)
@given(source=sources)
def test_tensors_anywhere_in_memory_are_answered_rightly(op, source):
    call = draw_call(source, op)
    answered = [try_call(call, backend) for backend in implementations(op)]
    assert answered[0], f"the automatic choice must run what fits: {call}"
    assert answered[-1], f"the reference must run what fits: {call}"


@every_op
@some_examples(2 * EXAMPLES)
@given(source=sources)
def test_arguments_that_do_not_fit_are_refused_or_answered_rightly(op, source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of some of these tensors itself
        call = draw_spoiled(source, op, (torch.float32, torch.bfloat16, torch.float16, torch.float64))
        for backend in implementations(op) if call is not None else ():
            try_call(call, backend)


@pytest.mark.parametrize("op", TRITON_OPS)
@some_examples(6)
@given(source=sources)
def test_triton_reads_tensors_anywhere_in_memory(op, source):
    with interpreted():
        try_call(draw_call(source, op, TRITON_DTYPES), "triton")


@pytest.mark.parametrize("op", TRITON_OPS)
@some_examples(6)
@given(source=sources)
def test_triton_never_sees_what_does_not_fit(op, source):
    with warnings.catch_warnings(), interpreted():
        warnings.simplefilter("ignore")
        call = draw_spoiled(source, op, TRITON_DTYPES)
        if call is not None:
            try_call(call, "triton")


@some_examples(6)
@given(source=sources)
def test_fp8_reads_tensors_anywhere_in_memory(source):
    with interpreted():
        try_call(draw_call(source, "block_sparse_attention", TRITON_DTYPES), "triton-fp8")
