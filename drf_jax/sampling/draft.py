"""The drafter slot: K future states from one, with at most one network call.

A round starts at an anchor x at time t_0 and drafts states d_1 … d_K at t_1 > … > t_K:

`ConservativeDrafter`  predicts afresh at the anchor, p_0 = f(x, t_0), and skips: d_j = S(p_0, t_j).
`AggressiveDrafter`    makes no call: it walks with the last prediction of the round before, d_{j+1} = S̃(d_j, p).
`LearnedDrafter`       K predictions from one call of a draft network: d_j = S(p_0^(j), t_j).
`DistilledDrafter`     skips with the prediction of a distilled network, which is not the refiner's (`distilled`).

The first two are DRiffusion's modes (arXiv 2603.25872). With ``order`` > 1 they walk the grid with predictions
extrapolated through the last ``order`` that were made (`history`), which costs no call: more accurate for small K,
unstable for large.

A drafter carries a *memory* from round to round (a pytree). ``calls`` is its number of sequential network calls a
round, of ``evaluations`` together, and ``initial_calls`` before the first, of ``initial_evaluations``. A drafter that
knows p_0 at the anchor itself lets the round end one step beyond its last draft; ``extra_steps`` says so. Where p_0 is
of the refiner's call, the drafter is ``anchored`` (`drf_jax.sampling.anchored`).
"""

import dataclasses
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.prediction import Prediction, from_output, network_input
from drf_jax.process.schedule import Process
from drf_jax.sampling import history
from drf_jax.sampling.transition import skip, walk
from drf_jax.typing import Cond, Drafts, Network, Params, State, Time, Times


@runtime_checkable
class Drafter(Protocol):
    calls: int
    evaluations: int
    initial_calls: int
    initial_evaluations: int
    extra_steps: int
    anchored: bool

    def start(self, x: State, t: Time, cond: Cond) -> Any:
        """Memory before the first round."""
        ...

    def __call__(
        self, process: Process, memory: Any, x: State, times: Times, cond: Cond
    ) -> tuple[Drafts, Any]:
        """Drafts ``[k, b, *state]`` at ``times[1:]`` from the anchor x at ``times[0]``; ``times`` is ``[k + 1, b]``."""
        ...

    def remember(self, memory: Any, times: Times, predictions: Prediction) -> Any:
        """Memory after the parallel call made ``predictions`` ``[k, b, *state]`` at ``times`` ``[k, b]``."""
        ...


def stack(p: Prediction) -> Prediction:
    """A prediction with a draft axis of length 1."""
    return Prediction(p.x0[None], p.eps[None])


def extrapolated_walk(
    process: Process, form: str, memory: history.History, x: State, times: Float[Array, "nodes b"]
) -> Drafts:
    """Walk the grid with the predictions that are to be expected there."""
    return walk(process, form, x, history.extrapolate(memory, times[:-1]), times)[1:]


@pytree.register
@dataclasses.dataclass(frozen=True)
class ConservativeDrafter:
    denoiser: DenoiserLike
    form: str = pytree.static(default="noise")
    order: int = pytree.static(default=1)
    calls: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    initial_calls: ClassVar[int] = 0
    initial_evaluations: ClassVar[int] = 0
    extra_steps: ClassVar[int] = 1
    anchored: ClassVar[bool] = False

    def start(self, x, t, cond):
        return history.empty(self.order, x)

    def __call__(self, process, memory, x, times, cond):
        p = self.denoiser(x, times[0], cond)
        if self.order == 1:
            drafts = jax.vmap(lambda u: skip(process, p, u))(times[1:])
            return drafts, memory
        memory = history.push(memory, times[:1], stack(p))
        return extrapolated_walk(process, self.form, memory, x, times), memory

    def remember(self, memory, times, predictions):
        return history.push(memory, times, predictions)


@pytree.register
@dataclasses.dataclass(frozen=True)
class AggressiveDrafter:
    denoiser: DenoiserLike
    form: str = pytree.static(default="noise")
    order: int = pytree.static(default=1)
    calls: ClassVar[int] = 0
    evaluations: ClassVar[int] = 0
    initial_calls: ClassVar[int] = 1
    initial_evaluations: ClassVar[int] = 1
    extra_steps: ClassVar[int] = 0
    anchored: ClassVar[bool] = False

    def start(self, x, t, cond):
        p = self.denoiser(x, t, cond)
        return history.push(history.empty(self.order, x), t[None], stack(p))

    def __call__(self, process, memory, x, times, cond):
        return extrapolated_walk(process, self.form, memory, x, times), memory

    def remember(self, memory, times, predictions):
        return history.push(memory, times, predictions)


@pytree.register
@dataclasses.dataclass(frozen=True)
class LearnedDrafter:
    """A draft network ``f(x [b, …], t [b], targets [k, b], cond) -> [k, b, …]``, outputs read as ``output``.

    Its one call is of so many ``evaluations``.
    """

    params: Params
    network: Network = pytree.static()
    process: Process = pytree.static()
    output: str = pytree.static()
    evaluations: int = pytree.static(default=1)
    calls: ClassVar[int] = 1
    initial_calls: ClassVar[int] = 0
    initial_evaluations: ClassVar[int] = 0
    extra_steps: ClassVar[int] = 1
    anchored: ClassVar[bool] = False

    def start(self, x, t, cond):
        return ()

    def __call__(self, process, memory, x, times, cond):
        t, targets = times[0], times[1:]
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        out = self.network.apply(
            {"params": self.params},
            network_input(self.output, x, alpha, sigma),
            self.process.network_time(t),
            self.process.network_time(targets),
            cond,
        )
        read = lambda out: from_output(self.output, out, x, alpha, sigma)
        return skip(process, jax.vmap(read)(out), targets), memory

    def remember(self, memory, times, predictions):
        return memory
