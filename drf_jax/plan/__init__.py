"""What a run would need on chips that are not here: its programs, compiled for a described topology.

    config ──► programs ──► topology's compiler ──► bytes, FLOPs, collectives ──► roofline ──► report

The programs are those of the run itself (`drf_jax.training.step.jit_step`, `drf_jax.sampling.method`), with shapes in
place of arrays. The compiler is the accelerator's own: libtpu compiles for a described TPU on any machine.
"""
