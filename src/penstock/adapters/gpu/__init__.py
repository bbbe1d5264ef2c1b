"""What GPUs say of themselves, from three sources: NVML in this process, nvidia-smi, a DCGM exporter [F6].

Each module has a pure parser of what its source tells, and a thin reader that asks with a time limit and a bound on the
answer. All give `base.nouns.GpuReading`; a number that a source does not know, or that cannot be true, is None.
"""
