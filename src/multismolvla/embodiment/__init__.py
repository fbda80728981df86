"""An arm as data: joints, limits, gripper, kinematics, action space. numpy only."""
