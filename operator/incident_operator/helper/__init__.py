"""The helper processes: what a namespace's expressions and queries may take, they take here, and not of the operator."""
