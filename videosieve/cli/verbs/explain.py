"""`videosieve explain`: who can run an attention call of a given size here, and why the others cannot."""

from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import mark, out, plain_table, say

TERA, GIGA = 1e12, 2**30


def explain(
    tokens: Annotated[int, typer.Option(help="Tokens of the sequence, >= 1.")] = 119_056,
    heads: Annotated[int, typer.Option(help="Attention heads, >= 1.")] = 24,
    head_dim: Annotated[int, typer.Option(help="Values per head, >= 1.")] = 128,
    density: Annotated[float, typer.Option(help="Share of query-key pairs that is kept, in (0, 1].")] = 0.25,
    dtype: options.Dtype = None,
    device: options.Device = "auto",
    block: Annotated[int, typer.Option(help="Side of a block, tokens, >= 1.")] = 128,
) -> None:
    """List who can run an attention call, and why the others cannot. Allocates nothing of its size.

    videosieve explain --tokens 119056 --heads 24 --head-dim 128 --density 0.25
    """
    from videosieve.generation.load import check_device, check_dtype
    from videosieve.masks.block_mask import BlockSize
    from videosieve.planning.explain import CallSize, explain_dense, explain_sparse

    place = check_device(device)
    precision = check_dtype(dtype, place)
    size = CallSize(tokens, heads, head_dim, density, precision, place, BlockSize(block, block))
    name = str(precision).removeprefix("torch.")
    say(f"{tokens:,} tokens × {heads} heads × {head_dim}, {name} on {place}, blocks of {block}")
    say(
        f"{size.dense_work * density / TERA:.3g} TFLOP at density {density:g}, {size.dense_work / TERA:.3g} dense; "
        f"q, k, v and output {size.tensor_bytes / GIGA:.2f} GiB; a mask per head {size.mask_bytes / GIGA:.3f} GiB"
    )
    for title, answers in (("sparse calls", explain_sparse(size)), ("dense calls", explain_dense(size))):
        say("")
        table = plain_table(title, "", "why")
        for answer in answers:
            table.add_row(answer.name, mark(answer.able), answer.detail)
        out.print(table)
