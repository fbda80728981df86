from glob import glob

from setuptools import find_packages, setup

NODES = (
    "rgb_node",
    "depth_node",
    "thermal_node",
    "segmentation_node",
    "sensor_container",
    "policy_node",
    "so101_driver",
    "monitor_node",
    "web_monitor",
    "sim_node",
    "libero_node",
    "fault_injector",
    "recording_info",
    "bag_player",
    "tf_broadcaster",
)

setup(
    name="multismolvla",
    version="0.1.0",
    description="A robot policy stack for the SO-101 that keeps working when sensors fail",
    license="Apache-2.0",
    author="The MultiSmolVLA authors",
    maintainer="The MultiSmolVLA authors",
    maintainer_email="maintainers@multismolvla.org",
    python_requires=">=3.10",
    package_dir={"": "src"},
    packages=find_packages("src", include=["multismolvla", "multismolvla.*"]),
    package_data={
        "multismolvla": [
            "**/*.xml",
            "**/*.safetensors",
            "**/*.json",
            "**/*.npz",
            "**/*.md",
            "**/*.txt",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/multismolvla"]),
        ("share/multismolvla", ["package.xml"]),
        ("share/multismolvla/launch", glob("launch/*.launch.py")),
        ("share/multismolvla/config", glob("config/*.*")),
        ("share/multismolvla/config/faults", glob("config/faults/*.yaml")),
        ("share/multismolvla/config/libero", glob("config/libero/*.yaml")),
        ("share/multismolvla/config/training", glob("config/training/*.yaml")),
        ("share/multismolvla/urdf", glob("urdf/*.urdf")),
        ("share/multismolvla/hook", ["resource/fastdds.dsv"]),  # named in colcon.meta
    ],
    zip_safe=False,  # the MJCF and the weights are read as files
    # Bounds only where something is known to break; requirements/ has the tested versions.
    # ROS is not among them: PyPI's wheels of it need every part pinned, see docs/install.md.
    install_requires=[
        "PyYAML>=6",
        "accelerate>=1.0",
        "av>=14",
        "huggingface_hub>=1.0",
        "matplotlib>=3.6",
        "mcap>=1.2",
        "mujoco>=3.2",
        "numpy>=1.26,<2.3",
        "opencv-python-headless>=4.8,<5",
        "peft>=0.17",
        "pyarrow>=16",
        "pydantic>=2.10,<3",
        "pyserial>=3.5",
        "rich>=13.7",
        "rosbags>=0.11,<0.12",
        "safetensors>=0.5",
        "tokenizers>=0.22",
        "torch>=2.6",
        "tqdm>=4.66",
        "transformers>=5,<6",
    ],
    extras_require={
        "test": ["pytest"],  # tells colcon test which runner to use
        "web": ["viser>=1.1,<2"],
    },
    entry_points={
        "console_scripts": [
            "multismolvla = multismolvla.cli:main",
            "so101 = multismolvla.robot.__main__:main",
            *(f"{node} = multismolvla.nodes.{node}:main" for node in NODES),
        ],
        # A policy implements multismolvla.interfaces.Policy; policy_node finds it by name.
        "multismolvla.policies": [
            "expert = multismolvla.sim.expert_policy:ExpertPolicy",
            "teacher = multismolvla.sim.libero.teacher_policy:TeacherPolicy",
        ],
    },
)
