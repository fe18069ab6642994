"""From a trial to its outcome: one training loop, cohorts, and checks of what a model is.

Everything in this room imports torch.
"""
