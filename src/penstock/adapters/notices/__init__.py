"""Where a provider's notices come from: that it takes spot replicas back [A6]. Each says who goes and when; what is
done about it is decided elsewhere.
"""
