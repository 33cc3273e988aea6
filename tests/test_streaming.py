"""Previews end in the sampler's result; a newer request stops the older ones within a round."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import driffusion, grid
from drf_jax.sampling.anchored import AnchoredDrafter
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.streaming import Preview, Streamer, previews, streamer

PROCESS = CosineVP()


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def noise(b=2):
    return jax.random.normal(jax.random.key(1), (b, 3), jnp.float64)


def slots(drafter, drafts=3, steps=14):
    means = jax.random.uniform(jax.random.key(0), (5, 3), jnp.float64, -1, 1)
    mixture = GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), PROCESS)
    drafter = drafter(mixture)
    rounds = driffusion.make_rounds(grid.uniform(PROCESS, steps), drafts, drafter.extra_steps)
    return drafter, ParallelRefiner(mixture), PROCESS, rounds


def anchored(mixture):
    return AnchoredDrafter(mixture.process)


@pytest.mark.parametrize("form", ["noise", "data"])
@pytest.mark.parametrize("drafter", [ConservativeDrafter, AggressiveDrafter, anchored])
def test_the_last_preview_is_the_sampler_s_result(drafter, form):
    args = slots(drafter)
    x = prior(PROCESS, noise())
    made = list(previews(*args, x, form=form))
    result = driffusion.sample(*args, x, form=form)
    assert [p.round for p in made] == list(range(1, len(args[3].times) + 1))
    assert [p.final for p in made] == [False] * (len(made) - 1) + [True]
    np.testing.assert_allclose(made[-1].x, result.x, atol=1e-12)


@pytest.mark.parametrize("drafter", [ConservativeDrafter, anchored])
def test_a_preview_is_the_refined_x0_and_they_approach_the_result(drafter):
    args = slots(drafter)
    x = prior(PROCESS, noise())
    made = np.stack([p.x for p in previews(*args, x)])
    refined = driffusion.sample(*args, x, record=True).trace.refined
    # In the noise form r_M = α x̂ + σ ε and r_{M-1} = α' x̂ + σ' ε with one and the same ε of p_K.
    times = args[3].times
    a, s = (f(times[:, -2:]) for f in (PROCESS.alpha, PROCESS.sigma))
    for i in range(len(made) - 1):
        system = np.array([[a[i, 0], s[i, 0]], [a[i, 1], s[i, 1]]])
        states = np.stack([refined[i, -2], refined[i, -1]]).reshape(2, -1)
        x0 = np.linalg.solve(system, states)[0].reshape(made[i].shape)
        np.testing.assert_allclose(made[i], x0, atol=1e-9)
    gaps = np.sqrt(np.mean((made - made[-1]) ** 2, axis=(1, 2)))
    assert np.all(np.diff(gaps) < 0)


@pytree.register
@dataclasses.dataclass
class WithMore:
    """A refiner that also predicts for its drafter."""

    refiner: ParallelRefiner

    def __call__(self, states, times, cond):
        return jax.tree.map(
            lambda p: jnp.concatenate([p, 7 + p]), self.refiner(states, times, cond)
        )


def test_what_a_refiner_predicts_for_its_drafter_is_not_shown():
    drafter, refiner, *rest = slots(ConservativeDrafter)
    x = prior(PROCESS, noise())
    plain = np.stack([p.x for p in previews(drafter, refiner, *rest, x)])
    more = np.stack([p.x for p in previews(drafter, WithMore(refiner), *rest, x)])
    np.testing.assert_array_equal(more, plain)


def test_an_unknown_form_is_refused():
    with pytest.raises(UserError, match="form = 'both'"):
        next(previews(*slots(AggressiveDrafter), noise(), form="both"))


class Counted:
    """A sampler of four rounds that counts those it makes of each request."""

    def __init__(self):
        self.made = {}

    def __call__(self, name):
        for i in range(4):
            self.made[name] = self.made.get(name, 0) + 1
            yield Preview(np.full((1, 1), i, np.float32), i + 1, 4)


def test_a_newer_request_stops_the_older_one():
    counted = Counted()
    streaming = Streamer(counted)
    old = streaming.request("old")
    assert [next(old).round, next(old).round] == [1, 2]
    new = streaming.request("new")
    assert list(old) == [] and counted.made == {"old": 2}
    assert [p.round for p in new] == [1, 2, 3, 4] and counted.made == {"old": 2, "new": 4}


def test_requests_that_nobody_started_to_read_cost_nothing():
    counted = Counted()
    streaming = Streamer(counted)
    typed = [streaming.request(i) for i in range(50)]
    assert [len(list(request)) for request in typed] == [0] * 49 + [4]
    assert counted.made == {49: 4}


def test_cancel_stops_the_newest_and_a_later_request_runs():
    streaming = Streamer(Counted())
    request = streaming.request("a")
    next(request)
    streaming.cancel()
    assert list(request) == []
    assert len(list(streaming.request("b"))) == 4


def test_many_threads_one_round_at_a_time_and_the_newest_wins():
    busy, most, finished = [], [], {}

    def sample(name):
        for i in range(20):
            busy.append(name)
            most.append(len(busy))
            busy.remove(name)
            yield Preview(np.zeros((1, 1), np.float32), i + 1, 20)

    streaming = Streamer(sample)
    order, asking = [], threading.Lock()
    gate = threading.Barrier(8)

    def ask(name):
        gate.wait()
        with asking:
            request = streaming.request(name)
            order.append(name)
        finished[name] = [p.round for p in request]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert finished[order[-1]] == list(range(1, 21))
    for rounds in finished.values():
        assert rounds == list(range(1, len(rounds) + 1))


def test_a_superseded_request_stops_evaluating_the_network():
    args = slots(AggressiveDrafter, drafts=2, steps=12)
    calls = []

    def decode(x):
        calls.append(x.shape)
        return 2 * x

    streaming = streamer(*args, decode=decode)
    old = streaming.request(noise())
    next(old)
    last = list(streaming.request(noise(1)))[-1]
    assert list(old) == [] and calls == [(2, 3)] + [(1, 3)] * 6
    result = driffusion.sample(*args, prior(PROCESS, noise(1), float(args[3].times[0, 0])))
    np.testing.assert_allclose(last.x, 2 * result.x, atol=1e-12)


def test_all_rounds_are_one_program(monkeypatch):
    from drf_jax import streaming

    traced = []
    first_pass = streaming.first_pass
    monkeypatch.setattr(
        streaming, "first_pass", lambda *args: (traced.append(1), first_pass(*args))[1]
    )
    streaming.advance.clear_cache()
    assert len(list(previews(*slots(AggressiveDrafter, steps=15), noise(3)))) == 5
    assert len(traced) == 1
