"""Whether training in bfloat16 is worth it on a device: some processors only emulate it, dozens of times slower."""

import time

import torch

TOKENS, WIDTH = 128, 512


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32, by trying once.

    Args:
        device: Where to multiply.

    Returns:
        True where it does. A CPU that has the instructions is about twice as fast with them, one that lacks them 3 to
        50 times slower, so that the noise of a busy machine does not turn the answer.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _fastest(device, torch.bfloat16) < _fastest(device, torch.float32)


def _fastest(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    left, right = (torch.ones(shape, WIDTH, device=device, dtype=dtype) for shape in (TOKENS, WIDTH))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        float((left @ right)[0, 0])  # reading a value waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds)
