"""The store: domain verbs in one place, over a few primitives that each engine provides.

`ports` names the rows and the primitives, `apply`, `timers`, `cards` and `upkeep` are the verbs
(the same code on every engine), `sql`, `memory` are the engines.
"""
