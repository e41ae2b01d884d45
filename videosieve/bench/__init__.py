"""How fast the kernels are on this machine, and whether they are right: the tables behind `videosieve bench` and
`videosieve doctor --check`.

`benchmarks/` of the repository holds what needs the repository: published figures, methods side by side, GPU tables.
"""
