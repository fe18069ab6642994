"""A recipe put together from torch's own parts: the oracle of kbench's optimisers."""

import torch


class Reference:
    """torch's AdamW, its linear warm-up as a schedule, and its clipping."""

    def __init__(self, parameters, recipe):
        self.parameters, self.recipe = list(parameters), recipe
        self.adamw = torch.optim.AdamW(
            self.parameters,
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.LinearLR(
            self.adamw,
            start_factor=1 / max(recipe.warmup, 1),
            total_iters=max(recipe.warmup - 1, 0),
        )
        self.zero_grad = self.adamw.zero_grad

    def step(self):
        if self.recipe.clip:
            trained = [p for p in self.parameters if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(trained, self.recipe.clip)
        self.adamw.step()
        self.schedule.step()
