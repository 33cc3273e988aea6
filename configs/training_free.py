"""The training-free rows of ``config.evaluate.methods`` that variance-preserving teachers share.

Not an experiment by itself. A row's name ends with its sequential calls; where a tolerance decides them (ParaDiGMS),
with its window. The draft–refine rows have the drafts, forms and modes that were best on the digits (docs/digits.md).
"""


def serial(steps, step="ddim"):
    return {"name": "serial", "step": step, "steps": steps}


def multistep(solver, steps):
    return {"name": "multistep", "solver": solver, "steps": steps}


def paradigms(steps, window, tolerance):
    return {"name": "paradigms", "steps": steps, "window": window, "tolerance": tolerance}


def srds(steps, blocks):
    return {"name": "srds", "steps": steps, "blocks": blocks}


def driffusion(mode, steps, drafts, **options):
    return {"name": "driffusion", "mode": mode, "steps": steps, "drafts": drafts, **options}


def methods(smoke: bool = False, teacher: int = 48, grid: str = "uniform") -> dict[str, dict]:
    """Row name -> section; the reference is DDIM with ``teacher`` steps. With ``smoke`` every kind of sampler once.

    All walk the ``grid`` that suits the data (experiments/grids.py).
    """
    found = smoke_methods() if smoke else full_methods(teacher)
    return {name: section | {"grid": grid} for name, section in found.items()}


def smoke_methods():
    return {
        "ddim-6": serial(6),
        "ddpm-6": serial(6, "ddpm"),
        "heun-3": serial(2, "heun"),
        "dpmpp-2m-3": multistep("dpmpp-2m", 3),
        "unipc-3": multistep("unipc", 3),
        "paradigms-window-3": paradigms(6, 3, 0.3),
        "srds-6": srds(4, 2),
        "driffusion-conservative-4": driffusion("conservative", 8, 3),
        "driffusion-aggressive-3": driffusion("aggressive", 6, 3, draft_form="data"),
    }


def full_methods(teacher):
    return {
        **{f"ddim-{n}": serial(n) for n in (teacher, 8, 4, 2, 1)},
        **{f"ddpm-{n}": serial(n, "ddpm") for n in (teacher, 8)},
        "heun-7": serial(4, "heun"),
        **{f"dpmpp-2m-{n}": multistep("dpmpp-2m", n) for n in (8, 4, 2)},
        **{f"unipc-{n}": multistep("unipc", n) for n in (8, 4, 2)},
        "paradigms-window-16": paradigms(teacher, 16, 0.1),
        "paradigms-window-8": paradigms(24, 8, 0.1),
        "srds-20": srds(48, 6),
        "driffusion-conservative-8": driffusion("conservative", 20, 4),
        "driffusion-conservative-4": driffusion("conservative", 10, 4),
        "driffusion-aggressive-8": driffusion("aggressive", 28, 4),
        "driffusion-aggressive-4": driffusion("aggressive", 18, 6, draft_form="data"),
        "driffusion-aggressive-2": driffusion("aggressive", 4, 4),
    }
