"""LIBERO's cameras: colour, depth, thermal and labels of `agentview` and `wrist`.

LIBERO has colour only. What its meshes are labelled as, and how warm they are, is a table here.
"""

from __future__ import annotations

import functools

import mujoco
import numpy as np

from multismolvla.modalities.segmentation import LABELS
from multismolvla.sim.cameras import Cameras, CameraSetup
from multismolvla.sim.libero.decimation import fewer_triangles
from multismolvla.sim.libero.world import LiberoWorld
from multismolvla.streams import StreamTable

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
# Group 0 is what collides, 1 what is seen. Of the sites only those that LIBERO gives a colour are
# visible: the red glow of a stove that is on.
_VISUAL = (1,)

# Category of LIBERO -> label by shape, and a surface temperature, degrees Celsius. The temperatures
# are synthetic: nobody measured these things. They follow what the things are made of and where
# they would come from: a room of 22 to 24, metal a little cooler, a stove kept warm, food from the
# fridge, wine from the cellar. Nothing about them is random and nothing warms up.
CATEGORIES: dict[str, tuple[str, float]] = {
    "floor": ("table", 22.0),
    "table": ("table", 23.0),
    "kitchen_table": ("table", 23.0),
    "living_room_table": ("table", 23.0),
    "study_table": ("table", 23.0),
    "basket": ("bin", 24.0),
    "desk_caddy": ("bin", 24.0),
    "microwave": ("bin", 27.0),
    "white_cabinet": ("bin", 22.0),
    "wine_rack": ("bin", 22.0),
    "wooden_cabinet": ("bin", 24.0),
    "flat_stove": ("plate", 38.0),
    "plate": ("plate", 21.5),
    "butter": ("cube", 8.0),
    "chocolate_pudding": ("cube", 23.5),
    "cookies": ("cube", 24.0),
    "cream_cheese": ("cube", 7.0),
    "milk": ("cube", 6.0),
    "orange_juice": ("cube", 9.0),
    "akita_black_bowl": ("cylinder", 22.0),
    "alphabet_soup": ("cylinder", 21.0),
    "bbq_sauce": ("cylinder", 23.5),
    "chefmate_8_frypan": ("cylinder", 21.0),
    "glazed_rim_porcelain_ramekin": ("cylinder", 21.5),
    "ketchup": ("cylinder", 22.5),
    "moka_pot": ("cylinder", 21.0),
    "porcelain_mug": ("cylinder", 21.5),
    "red_coffee_mug": ("cylinder", 22.0),
    "salad_dressing": ("cylinder", 11.0),
    "tomato_sauce": ("cylinder", 21.0),
    "white_yellow_mug": ("cylinder", 22.0),
    "wine_bottle": ("cylinder", 14.0),
    "black_book": ("brick", 24.0),
}
# Beginning of a body's name -> the same for the robot; motors are warmer than the mount.
_ROBOT = {
    "mount0": ("arm", 24.0),
    "robot0_base": ("arm", 25.0),
    "robot0_link0": ("arm", 27.0),
    "robot0": ("arm", 34.0),
    "gripper0_right_gripper": ("gripper", 31.0),
    "gripper0": ("gripper", 25.0),
}
# Walls and the furniture in front of them, which no task knows.
_ROOM = ("background", 22.5)


def libero_cameras(
    world: LiberoWorld, table: StreamTable, seed: int = 0, official: bool = False
) -> Cameras:
    """The cameras of the task that the world has loaded; close them before it loads another.

    `Cameras.render(world.data, names, time_s)` gives raw frames of the table's streams. Images are
    upright and have left and right exchanged, as everybody's data of LIBERO have. Temperatures are
    synthetic, see `CATEGORIES`.

    Args:
        official: render as LIBERO does, with anti-aliasing, reflections and every triangle; 40
            times slower. Otherwise without these, and meshes have 2 500 triangles.

    Raises:
        ValueError: the scene lacks a view's camera, or a thing in it has no label here.
    """
    return Cameras(world.model, table, seed, libero_setup(world, official))


def libero_setup(world: LiberoWorld, official: bool = False) -> CameraSetup:
    """What the cameras need to know of the scene that is loaded; see `libero_cameras`.

    Raises:
        ValueError: a thing in it has no label here; the message names its category.
    """
    model = world.model
    categories = {body: world.instances[name] for name, body in world.env.obj_body_id.items()}
    labels, temperatures = np.zeros(model.ngeom, np.uint8), np.zeros(model.ngeom)
    for geom in range(model.ngeom):
        if model.geom_group[geom] in _VISUAL:
            label, temperatures[geom] = _looks(model, geom, categories)
            labels[geom] = LABELS.index(label)
    return CameraSetup(
        camera_of_view=lambda view: CAMERAS.get(view, view),
        labels=labels,
        temperatures_c=temperatures,
        geom_groups=_VISUAL,
        mirrored=True,
        full_quality=official,
        prepared=None if official else functools.partial(fewer_triangles, geom_groups=_VISUAL),
    )


def _looks(model: mujoco.MjModel, geom: int, categories: dict[int, str]) -> tuple[str, float]:
    """Label and temperature of a geom that is seen; `categories` by body."""
    body = int(model.geom_bodyid[geom])
    name = model.body(body).name
    for start, looks in _ROBOT.items():
        if name.startswith(start):
            return looks
    while body not in categories and model.body_parentid[body]:
        body = int(model.body_parentid[body])
    if body in categories:
        category = categories[body]
    elif body or model.geom(geom).name == "floor":
        # Tables and floors are bodies of LIBERO's arena and no objects.
        category = model.body(body).name if body else "floor"
    else:
        return _ROOM
    if category not in CATEGORIES:
        raise ValueError(
            f"geom '{model.geom(geom).name}' is of the category '{category}', "
            "which has no label and temperature in sim/libero/cameras.py"
        )
    return CATEGORIES[category]
