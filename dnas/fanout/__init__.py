"""Independent pieces of work, done by several processes at a time, here or on the machines of a Ray cluster.

    pool = chosen(workers=2)
    values = fan_out(pool, [Task("dnas.train.task:trained", {...}, "seed 0"), ...], console, "training")

A task (`task`) is the name of a function and JSON values. A pool begins tasks: `processes` on this machine, `cluster`
by Ray. One loop (`run`) hands them out, repeats those whose process was lost, and gives the values in the order of the
tasks.
"""
