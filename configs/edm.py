"""What the configs of EDM and PFGM++ teachers share (Karras et al. 2022; Xu et al. 2023).

Not an experiment by itself. t is the noise level σ, up to 80; the network is preconditioned; ln σ ~ N(−1.2, 1.2²) in
training; the sampler is Heun's on Karras's grid, 18 steps or 35 calls.
"""

from ml_collections import ConfigDict


def heun(steps, **churn):
    return {"name": "edm", "steps": steps, **churn}


def on_karras(name, steps, **options):
    return {"name": name, "steps": steps, "grid": "karras", **options}


METHODS = {
    "heun-35": heun(18),
    "heun-churn-35": heun(18, s_churn=40.0, s_min=0.05, s_max=50.0),
    "heun-15": heun(8),
    "heun-7": heun(4),
    "ddim-18": on_karras("serial", 18),
    "ddim-8": on_karras("serial", 8),
    "dpmpp-2m-8": on_karras("multistep", 8, solver="dpmpp-2m"),
    "unipc-8": on_karras("multistep", 8, solver="unipc"),
    "driffusion-conservative-8": on_karras("driffusion", 16, mode="conservative", drafts=3),
    "driffusion-aggressive-8": on_karras("driffusion", 21, mode="aggressive", drafts=3),
}
# Neither σ_max nor the last interval is churned, so churn takes at least 3 steps.
SMOKE_METHODS = {
    "heun-3": heun(2),
    "heun-churn-5": heun(3, s_churn=1.0),
    "unipc-3": on_karras("multistep", 3, solver="unipc"),
}


def edm(config: ConfigDict, smoke: bool = False) -> ConfigDict:
    """The config of an EDM teacher with the data, network and updates of ``config``."""
    config.process = {"name": "ve", "t_max": 80.0}
    config.output = "edm"
    config.objective.update(weighting="edm", times="log_normal")
    config.sampler = heun(3 if smoke else 18)
    config.evaluate.methods = SMOKE_METHODS if smoke else METHODS
    return config


def pfgmpp(config: ConfigDict, dimensions: float) -> ConfigDict:
    """The config of a PFGM++ teacher with all else as in ``config``, an EDM teacher's; its rows begin with pfgmpp."""
    config.process = {"name": "pfgmpp", "t_max": config.process.t_max, "dimensions": dimensions}
    config.evaluate.methods = {
        f"pfgmpp-{name.removeprefix('heun-')}": section.to_dict()
        for name, section in config.evaluate.methods.items()
    }
    return config
