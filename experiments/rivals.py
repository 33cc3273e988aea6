"""Every rival at equal training seconds: one command for the table of {method × sequential calls}.

    python experiments/rivals.py --data digits --seconds 60
    python experiments/rivals.py --data fashion_mnist32 --data_dir ~/data --seconds 60
    python experiments/rivals.py --data emoji64 --arg captions,bf16 --seconds 120 --accelerators 8
    python experiments/rivals.py --data fashion_mnist32 --teacher fashion_mnist  of the teacher that drf models lists
    python experiments/rivals.py --data digits --only lcm --updates 2000         one student's rows
    python experiments/rivals.py --data digits --only step-4 --seed 1            once more, with other random numbers
    python experiments/rivals.py --data digits --only timing --again timing      the time of one sample, of all rows
    python experiments/rivals.py --data digits --publish                         results/ and docs/pictures/
    python experiments/rivals.py --data fashion_mnist32 --teacher fashion_mnist --published --only pfgmpp

The teacher, the classifier of the features and its statistics come first. Then every student that the data set's
configs offer is trained for the same seconds and evaluated in one loop with the samplers that need no training
(configs/training_free.py). ``--jobs`` of them start and compile side by side, and take turns with what is timed;
``--accelerators`` spreads them over several GPUs, one for each student; the teacher is trained on all of them. A
student's seconds are those of its updates and of its cached trajectories, not of compilation: see `drf_jax.runs.budget`
for how many updates that makes.

    OUT/rivals_DATA.json   the table, saved after every row             OUT/teacher/*        the packed teacher
    OUT/pictures.npz       a few samples of every row                   OUT/features.npz     what FD is measured with
    RUNS/*                 the runs, logs, samples: what can be made again

A second call goes on where the first stopped. With ``--deadline S`` it stops in time, and OUT alone is enough to go on,
on another machine, too: a student whose rows are there is not trained again, unless ``--again=NAME`` asks for it. A
table in which a training took other seconds than asked is not published. ``--published`` goes on from the published
table, where OUT has none yet: with the same teacher, and rows that are there are not made again.
"""

import dataclasses
from pathlib import Path

from absl import flags
from rival_loop import make_table, run, told
from rival_options import FREE, ROOT, Options, define_flags, offered, options_of
from rival_published import begin, publish
from rival_runs import free_methods
from rival_seconds import forget
from rival_table import Table, draw


def rivals(o: Options, made: Table) -> list[str]:
    """Make what is missing of the table; the names that are left when the time is up."""
    others = free_methods(o)
    only = [each for name in o.only for each in (others if name == FREE else (name,))]
    return make_table(dataclasses.replace(o, only=tuple(only)), made, offered(o), others)


def main(o: Options, to_publish: bool, root: Path = ROOT) -> int:
    """The exit code: 0 if the table has every row."""
    if o.published:
        begin(o, root / "results")
    made = Table(o)
    if to_publish:
        publish(made, root / "results")
        if o.seed == 0:
            draw(made, root / "docs" / "pictures")
        return 0
    o.out.mkdir(parents=True, exist_ok=True)
    forget(made, o.again)
    left = rivals(o, made)
    if made.rows:
        draw(made, o.runs)
    return told(o, made, left)


if __name__ == "__main__":
    define_flags("digits, fashion_mnist32, emoji64, cifar10")
    flags.DEFINE_boolean("published", False, "go on from the published table, if OUT has none")
    run(
        lambda: options_of(flags.FLAGS, published=flags.FLAGS.published),
        lambda o: main(o, flags.FLAGS.publish),
    )
