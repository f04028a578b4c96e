"""What the cluster is seen at fault with, and maintenance windows as the cluster keeps them (C11, C12)."""
