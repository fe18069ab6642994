"""From names to cells, from cells to trials and back: request, plan, driver, store, executors.

`request` turns names into cells, `cell` is what is measured, `searches` is a cell under way,
`driver` brings cells to their end and alone writes the `store`. Importing the room loads no torch.
"""
