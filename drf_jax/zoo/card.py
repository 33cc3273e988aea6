"""The card of a packed model, in Markdown."""

from collections.abc import Mapping
from typing import Any

from drf_jax.runs.evaluate import table


def card(facts: Mapping[str, Any]) -> str:
    """What ``model.json`` says, to be read."""
    data, teacher, student = facts["data"], facts["teacher"], facts["student"]
    h, w, c = data["image_shape"]
    given = ["the class"] * bool(data["num_classes"]) + ["a caption"] * bool(data["caption_width"])
    lines = [
        f"# {facts['name']}",
        "",
        f"- Images: {h}×{w}, {c} channel{'s' * (c > 1)}, of {data['name']} ({data['images']:,} images).",
        f"- Conditional on: {' and '.join(given) or 'nothing'}.",
        *[f"- Classes: {', '.join(data['classes'])}."] * bool(data["classes"]),
        *[f"- Licence of the images ({part}): {text}." for part, text in data["licences"].items()],
        f"- Teacher: {part_of(teacher)}.",
        *(
            [f"- Student ({student['config']['method']['name']}): {part_of(student)}."]
            if student
            else []
        ),
        f"- The teacher's sampler: {', '.join(f'{k} {v}' for k, v in teacher['config']['sampler'].items())}.",
        "",
        "```sh",
        f"drf sample --model {facts['name']} --out samples.png",
        "```",
        "",
    ]
    if facts["rows"]:
        seed, samples = facts["rows"][0]["seed"], facts["rows"][0]["samples"]
        lines += [
            f"Measured by `{facts['command']}` on {facts['device']} (git {facts['git']}, jax {facts['jax']})"
            f"{', before the rounding to bfloat16' * facts.get('rounded', True)}; {samples:,} samples, seed {seed}:",
            "",
            table(facts["rows"]),
            "",
        ]
    return "\n".join(lines)


def part_of(network: Mapping[str, Any]) -> str:
    seconds = network["train_seconds"]
    took = "" if seconds is None else f", trained for {seconds:,.0f} s"
    return f"{network['parameters']:,} parameters{took}, kept in bfloat16"
