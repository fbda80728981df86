from ros_graph import graph

__all__ = ["graph"]
