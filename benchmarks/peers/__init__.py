"""What `benchmarks.dispatch` is held against: programs that make the same calls, each a process of its own.

Each is told by its environment where things are: BENCH_WECHAT, BENCH_CALLS and its own broker's.
"""
