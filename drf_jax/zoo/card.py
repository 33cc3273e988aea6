"""The card of a packed model, in Markdown."""

import collections
from collections.abc import Mapping
from typing import Any

from drf_jax.evaluation.report import CIRCUMSTANCES
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
        lines += [*origins(facts), "", table(facts["rows"]), ""]
    return "\n".join(lines)


def origins(facts: Mapping[str, Any]) -> list[str]:
    """Where the rows come from: a line, or one for each command where they were made in different circumstances."""
    rows, rounded = facts["rows"], facts.get("rounded", True)
    of_all = f"{rows[0]['samples']:,} samples, seed {rows[0]['seed']}:"
    if all(row.get(key, facts[key]) == facts[key] for row in rows for key in CIRCUMSTANCES):
        return [f"Measured by {origin(facts, rounded)}; {of_all}"]
    made = collections.defaultdict(list)
    for row in rows:
        # Only a student is rounded when it is packed: its teacher was before.
        made[origin({**facts, **row}, rounded and "train_seconds" in row)].append(row["method"])
    lines = [f"- {', '.join(methods)}: by {where}" for where, methods in made.items()]
    return [f"Measured on {of_all}", "", *lines]


def origin(made: Mapping[str, Any], before_rounding: bool) -> str:
    return (
        f"`{made['command']}` on {made['device']} (git {made['git']}, jax {made['jax']})"
        f"{', before the rounding to bfloat16' * before_rounding}"
    )


def part_of(network: Mapping[str, Any]) -> str:
    seconds = network["train_seconds"]
    took = "" if seconds is None else f", trained for {seconds:,.0f} s"
    return f"{network['parameters']:,} parameters{took}, kept in bfloat16"
