"""The page for a browser, on viser. No ROS."""
