# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Degradation in 15 minutes
#
# *Deep Residual Learning for Image Recognition* (He, Zhang, Ren, Sun 2015) begins with a surprise: a deeper plain net has
# a **higher training error** than a shallower one. It is not overfitting. Shortcuts cure it. This page trains four small
# nets on a CPU, in minutes, and shows the effect; then it shows the paper's own nets, and what shortcuts change inside.
#
# It is a notebook, `notebooks/degradation.py`, for Jupyter with jupytext: `pip install 'resrepro[notebook]' notebook`, then
# `jupyter notebook` in the folder of the repository, and "Open with: Notebook".

# %%
from pathlib import Path

# %matplotlib inline
import torch
from matplotlib.figure import Figure

import resrepro
from resrepro.data.in_memory import shapes

# %% [markdown]
# ## 1. See it
#
# The data are pictures of shapes, 16 x 16 pixels, made by the program. Two plain nets have 14 and 38 layers; two residual
# nets have the same layers, with shortcuts. Runs that are finished are not trained again.

# %%
records = resrepro.run("quickstart")
records[["run", "arch", "final_train_error_pct", "final_test_error_pct"]].round(2)

# %% alt="Error against iterations: plain-38 stays far above plain-14; ResNet-14 and ResNet-38 end near each other"
resrepro.figure("quickstart")

# %% [markdown]
# The dashed lines are training errors. plain-38 can represent whatever plain-14 can: 24 of its layers need only pass their
# input on. And yet it trains worse. So the difficulty lies in the optimization, not in what the net could compute. Your
# numbers may differ, most of all those of plain-38 ([five seeds](training.md#the-quickstart)).
#
# ## 2. In the paper's own nets
#
# CIFAR-10, 20 and 56 layers, 64,000 iterations (Sec. 4.2). The thin gray lines are the curves of the paper's Fig. 6.
# Ours lie on them, but after the drops of the rate our plain-56 degrades less than the paper's. Some choices of our
# recipe were made by these curves ([the recipe](recipe.md)). Curves of 20 layers are means of two seeds, the others are
# of one.

# %% alt="Our plain-20, plain-56, ResNet-20 and ResNet-56 on CIFAR-10 with the paper's curves: all lie on them but plain-56 after the drops"
resrepro.figure("fig6-corners")

# %%
curves = resrepro.curves("fig6-corners")
last = curves[curves["iteration"] == 64_000]
last.pivot_table(index="label", columns=["kind", "source"], values="error_pct").round(2)

# %% [markdown]
# ## 3. What the layers do
#
# Fig. 7: how strong the response of each 3x3 layer is, measured as its standard deviation. Residual functions respond
# less than plain layers.

# %% alt="Standard deviation of the responses of each layer, in their order and sorted, ours and the paper's"
resrepro.figure("fig7")

# %% [markdown]
# ## 4. Remove a block
#
# Does a net work without one of its blocks? Veit, Wilber and Belongie (2016, arXiv 1605.06431) tried. We take one block
# at a time out of the trained nets of 38 layers, and test them again.

# %%
images = shapes.load(Path("data"))
pixels, labels = images.test_images[:1000].permute(0, 3, 1, 2), images.test_labels[:1000]


def error_without(name: str, stage: int, block: int) -> float:
    """Return the test error (%) of a net without one block."""
    classifier = resrepro.load_net(f"shapes/{name}/seed0")
    getattr(classifier.net, f"layer{stage}")[block] = torch.nn.Identity()
    with torch.no_grad():
        return 100 * float((classifier(pixels).argmax(1) != labels).float().mean())


BLOCKS = [(stage, block) for stage in (1, 2, 3) for block in range(1, 6)]  # the first one of a stage changes the size
lesions = {name: [error_without(name, *place) for place in BLOCKS] for name in ("plain-deep", "residual-deep")}

# %% alt="Test error without each block: up to 12 % in the residual net of 38 layers, 57 to 95 % in the plain one"
figure = Figure(figsize=(6, 3), layout="constrained")
axes = figure.subplots()
for (name, errors), mark in zip(lesions.items(), "so", strict=True):
    axes.plot(range(1, len(errors) + 1), errors, mark, label=name)
axes.set(xlabel="the block that is missing", ylabel="test error (%)", ylim=(0, 100))
axes.legend()
figure

# %% [markdown]
# A plain net is a chain: take out a link, and what follows gets something it has never seen. A residual net is more like
# many short paths side by side; without one block, half of the paths are left. (On CIFAR-10 it takes depth: without one
# block ResNet-56 has an error of 9.6 %, ResNet-20 of 38 %, in the median.)
#
# ## Go on
#
# - `resrepro run plain20-vs-plain56 --schedule-scale 0.05`: the paper's first figure, on CIFAR-10, in a twentieth of its
#   schedule
# - `resrepro report`: each claim of the paper beside our results
# - [the recipe](recipe.md), [findings](findings.md), [experiments](experiments.md)
