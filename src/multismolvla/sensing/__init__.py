"""Stream conditioning, health and synchronisation on an explicit clock. numpy and OpenCV only."""
