"""A call in progress: attempts at replicas, the answer on its way back, groups that go as one. Bytes only."""
