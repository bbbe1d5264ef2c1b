"""The replicas' side: connections to them, who they are and where they come from, what is read of them."""
