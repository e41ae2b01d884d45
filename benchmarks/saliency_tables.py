"""The tables of the saliency evaluation, as Markdown."""

from typing import Any

FIGURES = {
    "pixel_accuracy": "pixel accuracy",
    "miou": "mIoU",
    "object_iou": "object IoU",
    "average_precision": "average precision",
    "pooled_miou": "pooled mIoU (the paper's)",
}
GOAL, MARGIN = 0.7, 0.1  # mIoU of the defaults, and how far above the attention-weight baseline
Scores = dict[str, dict[str, dict[str, float]]]


def variant_table(scores: Scores, site: str) -> str:
    """One row a variant; `site` is "default", "every layer", "all", or "best", the best single one by mIoU."""
    lines = [f"| maps | {' | '.join(FIGURES.values())} |", "| --- " * (len(FIGURES) + 1) + "|"]
    for name, sites in scores.items():
        place = best_site(sites) if site == "best" else site
        shown = f"{name} ({place})" if site == "best" else name
        lines.append(f"| {shown} | {' | '.join(f'{sites[place][key]:.3f}' for key in FIGURES)} |")
    return "\n".join(lines)


def site_table(sites: dict[str, dict[str, float]], figure: str) -> str:
    """One figure by layer (rows) and denoising step (columns)."""
    places = sorted(tuple(map(int, site[6:].split(", step "))) for site in sites if site.startswith("layer"))
    steps = sorted({step for _, step in places})
    lines = [f"| layer | {' | '.join(f'step {step}' for step in steps)} |", "| --- " * (len(steps) + 1) + "|"]
    for layer in sorted({layer for layer, _ in places}):
        row = (f"{sites[f'layer {layer}, step {step}'][figure]:.3f}" for step in steps)
        lines.append(f"| {layer} | {' | '.join(row)} |")
    return "\n".join(lines)


def best_site(sites: dict[str, dict[str, float]]) -> str:
    """The single layer and level with the highest mIoU."""
    return max((site for site in sites if site.startswith("layer")), key=lambda site: sites[site]["miou"])


def verdicts(scores: Scores) -> list[str]:
    """What the paper's orderings and our goal come to, with every layer at the default level."""
    miou = {name: sites["every layer"]["miou"] for name, sites in scores.items()}
    ap = {name: sites["every layer"]["average_precision"] for name, sites in scores.items()}
    both, video = "concept", "concept, sees the video only"
    own, nothing, weights = "concept, sees concepts only", "concept, sees nothing", "cross_attention"

    def say(claim: str, first: str, second: str) -> str:
        ways = [
            f"{figure} {of[first]:.3f} against {of[second]:.3f}: {'yes' if of[first] > of[second] else 'no'}"
            for figure, of in (("mIoU", miou), ("average precision", ap))
        ]
        return f"- {claim}: {'; '.join(ways)}."

    default = scores[both]["default"]["miou"]
    reached = default >= GOAL and default - miou[weights] >= MARGIN
    return [
        say("output space above attention weights", both, weights),
        say("both above the video only", both, video),
        say("the video only above concepts only", video, own),
        say("concepts only below nothing (the paper: 34.9 and 35.7)", nothing, own),
        say("both above nothing", both, nothing),
        f"- goal (mIoU ≥ {GOAL} and {MARGIN} above attention weights): {'reached' if reached else 'missed'} with "
        f"{default:.3f} and {miou[weights]:.3f}; attention weights with their own default layers: "
        f"{scores[weights]['default']['miou']:.3f}.",
    ]


def report(results: dict[str, Any]) -> str:
    """All tables of a results file."""
    scores: Scores = results["scores"]
    parts = [
        f"{results['clips']} clips, model {results['model']}, the level nearest one half, every layer:",
        variant_table(scores, "every layer"),
        "The library's defaults (the layers that the model names for the method, else all):",
        variant_table(scores, "default"),
        "The best single layer and step of each:",
        variant_table(scores, "best"),
        f"mIoU of `concept` by layer and step of {results['steps']}:",
        site_table(scores["concept"], "miou"),
        "Average precision of `concept`:",
        site_table(scores["concept"], "average_precision"),
        "\n".join(verdicts(scores)),
    ]
    aim = results.get("aim")
    if aim:
        parts += [
            "How well the attention of concepts is aimed (1: no aim), at the level nearest one half:",
            aim_table(aim),
        ]
    return "\n\n".join(parts)


def aim_table(aim: list[dict[str, float]]) -> str:
    """How well concepts' own attention is aimed, by layer."""
    titles = (
        "layer | mass on its object ÷ the object's area | of the best head | likeness of outputs | of values"
    )
    lines = [f"| {titles} |", "| --- " * 5 + "|"]
    keys = ("aim", "best_head", "output_likeness", "value_likeness")
    lines += [
        f"| {layer} | {' | '.join(f'{row[key]:.2f}' for key in keys)} |" for layer, row in enumerate(aim)
    ]
    return "\n".join(lines)
