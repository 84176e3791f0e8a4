"""What the ego's approach sets off: who steps onto the road, which light switches. Pure.

Scripts by the clock alone would let a late driver meet nobody; these wait for whoever drives, well or badly.
"""

from __future__ import annotations

from dataclasses import replace

from platform_lib.scenario.agents import Mover
from platform_lib.scenario.scene import Pedestrian, Scene, TrafficLight


def triggered(scene: Scene, ego: Mover, time_s: float) -> Scene:
    """Return the scene as the ego's position makes it; the same object while nothing is set off."""
    front_m = ego.s_m + 0.5 * ego.length_m
    people = tuple(_walker(person, front_m, time_s) for person in scene.pedestrians)
    light = None if scene.light is None else _switched(scene.light, front_m, time_s)
    if light is scene.light and all(new is old for new, old in zip(people, scene.pedestrians, strict=True)):
        return scene
    return replace(scene, pedestrians=people, light=light)


def _walker(person: Pedestrian, front_m: float, time_s: float) -> Pedestrian:
    if person.walk_gap_m is None or person.s_m - front_m > person.walk_gap_m:
        return person
    return replace(person, walk_start_s=time_s, walk_gap_m=None)


def _switched(light: TrafficLight, front_m: float, time_s: float) -> TrafficLight:
    if light.switch_gap_m is None or light.s_m - front_m > light.switch_gap_m:
        return light
    red_from = light.red_from_s if light.red(time_s) else time_s
    return replace(light, red_from_s=red_from, red_until_s=time_s + light.switch_s, switch_gap_m=None)
