"""The front camera's picture of a scene: painter's algorithm, far to near, a few milliseconds a frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from platform_lib.scenario.agents import CROSSING_DEPTH_M, VehicleState
from platform_lib.scenario.camera import FRONT_CAMERA, NEAR_M, PinholeCamera
from platform_lib.scenario.look import LOOKS, Colour, Image, ground_maps, panorama, shade
from platform_lib.scenario.model import EgoState, Weather
from platform_lib.scenario.road import HALF_WIDTH_M, LANE_WIDTH_M
from platform_lib.scenario.scene import Pedestrian, Scene, TrafficLight
from platform_lib.scenario.shapes import Face, Lamps, vehicle_faces

Points = NDArray[np.float64]

_SHIFT = 4
_STATIONS_M = np.concatenate([np.arange(2.2, 24, 0.8), np.arange(24, 70, 2.5), np.arange(70, 190, 8)])
_SEE_M = 130.0
_PAVEMENT_M = HALF_WIDTH_M + 2.6
_RAIL_M = HALF_WIDTH_M + 2.9
_ASPHALT: Colour = (88, 90, 96)
_WHITE: Colour = (240, 240, 240)
_YELLOW: Colour = (250, 196, 30)
_LINES: tuple[tuple[float, float, Colour], ...] = (
    (-HALF_WIDTH_M + 0.05, -HALF_WIDTH_M + 0.27, _WHITE),
    (-0.3, -0.1, _YELLOW),
    (0.1, 0.3, _YELLOW),
    (HALF_WIDTH_M - 0.27, HALF_WIDTH_M - 0.05, _WHITE),
)
_SPRITE_SIZES = (3, 5, 8, 12, 18, 26, 38)


class Renderer:
    """Draws one scene; keeps what does not change from frame to frame.

    Args:
        seed: Decides trees, clouds and sensor noise.
    """

    def __init__(self, scene: Scene, weather: Weather, seed: int, camera: PinholeCamera = FRONT_CAMERA) -> None:
        self._scene = scene
        self._camera = camera
        self._look = LOOKS[weather]
        self._seed = seed
        rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
        self._panorama = panorama(self._look, camera, rng)
        self._multiply, self._add = ground_maps(self._look, camera)
        grain = rng.normal(0.0, self._look.noise, (camera.height_px + 64, camera.width_px + 64, 1))
        grain = grain + rng.normal(0.0, 0.5 * self._look.noise, (*grain.shape[:2], 3))
        self._brighter = np.clip(grain, 0, 255).astype(np.uint8)
        self._darker = np.clip(-grain, 0, 255).astype(np.uint8)
        self._sprites = {size: _sprite(size) for size in _SPRITE_SIZES}
        self._plant(rng)
        self._image: Image = np.zeros((camera.height_px, camera.width_px, 3), dtype=np.uint8)
        self._ego = EgoState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        self._ego_s_m = 0.0

    def frame(
        self, scene: Scene, ego: EgoState, ego_s_m: float, vehicles: tuple[VehicleState, ...], index: int
    ) -> Image:
        """Draw frame `index` and return it: uint8 (H, W, 3) RGB, owned by the caller.

        Args:
            scene: The scene as it is now: people and light may have been set off, the road is the first one's.
            ego: Where the camera is.
            ego_s_m: The same along the road.
            vehicles: Where the others are.
            index: Which frame of the drive; decides rain and sensor noise.
        """
        self._scene, self._ego, self._ego_s_m = scene, ego, ego_s_m
        start = round(-ego.yaw_rad * self._camera.focal_px) % (self._panorama.shape[1] - self._camera.width_px)
        self._image = self._panorama[:, start : start + self._camera.width_px].copy()
        self._ground()
        for _, draw in sorted(self._things(vehicles), key=lambda item: -item[0]):
            draw()
        if self._look.wet:
            self._rain(index)
        self._grain(index)
        return self._image

    # What stands along the road

    def _plant(self, rng: np.random.Generator) -> None:
        length = self._scene.road.length_m
        s = np.arange(0.0, length, 8.0) + rng.uniform(0.0, 6.0, size=len(np.arange(0.0, length, 8.0)))
        side = np.where(rng.random(len(s)) < 0.5, 1.0, -1.0)
        d = side * rng.uniform(_PAVEMENT_M + 3.0, _PAVEMENT_M + 15.0, size=len(s))
        self._tree_s_m = s
        self._tree_at_m = self._scene.road.to_world(s, d)
        self._tree_height_m = rng.uniform(4.0, 8.0, size=len(s))
        self._tree_green = rng.integers(-18, 18, size=len(s))
        self._post_s_m = np.arange(6.0, length, 36.0)
        self._post_at_m = self._scene.road.to_world(self._post_s_m, np.full(len(self._post_s_m), -_PAVEMENT_M + 0.2))

    def _things(self, vehicles: tuple[VehicleState, ...]) -> list[tuple[float, Callable[[], None]]]:
        """List everything that stands on the ground with its distance ahead."""
        things: list[tuple[float, Callable[[], None]]] = []
        for number in self._in_sight(self._tree_s_m):
            things.append(self._placed(self._tree_at_m[number], partial(self._tree, number=number)))
        for number in self._in_sight(self._post_s_m):
            things.append(self._placed(self._post_at_m[number], self._street_lamp))
        road = self._scene.road
        for state in vehicles:
            px, py, yaw = state.pose(road)
            things.append(
                self._placed((px, py), partial(self._vehicle, yaw_rad=yaw, state=state)),
            )
        for person in self._scene.pedestrians:
            d, rate = person.at(self._ego.time_s)
            at = road.pose(person.s_m, d)[:2]
            things.append(self._placed(at, partial(self._pedestrian, person=person, rate_mps=rate)))
        light = self._scene.light
        if light is not None:
            at = road.pose(light.s_m + CROSSING_DEPTH_M, -HALF_WIDTH_M - 0.8)[:2]
            things.append(self._placed(at, partial(self._light, light=light)))
        return [thing for thing in things if -4.0 < thing[0] < _SEE_M]

    def _in_sight(self, s_m: Points) -> NDArray[np.int64]:
        return np.flatnonzero((s_m > self._ego_s_m) & (s_m < self._ego_s_m + _SEE_M))

    def _placed(
        self, at_m: Points | tuple[float, float], draw: Callable[[float, float], None]
    ) -> tuple[float, Callable[[], None]]:
        dx, dy = float(at_m[0]) - self._ego.x_m, float(at_m[1]) - self._ego.y_m
        c, s = math.cos(self._ego.yaw_rad), math.sin(self._ego.yaw_rad)
        x, y = c * dx + s * dy, c * dy - s * dx
        return math.hypot(max(x, 0.0), y) if x > 0 else x, lambda: draw(x, y)

    # The ground

    def _flat(self, s_m: Points, d_m: Points) -> Points:
        """Project road coordinates on the ground to pixels."""
        world = self._scene.road.to_world(s_m, d_m)
        c, s = math.cos(self._ego.yaw_rad), math.sin(self._ego.yaw_rad)
        dx, dy = world[..., 0] - self._ego.x_m, world[..., 1] - self._ego.y_m
        points = np.stack([c * dx + s * dy, c * dy - s * dx, np.zeros_like(dx)], axis=-1)
        return self._camera.to_pixels(self._camera.to_optical(points))

    def _ground(self) -> None:
        edges = [-_PAVEMENT_M, -HALF_WIDTH_M - 0.15, -HALF_WIDTH_M, HALF_WIDTH_M, _PAVEMENT_M]
        edges += [edge for near, far, _ in _LINES for edge in (near, far)]
        stations = self._ego_s_m + _STATIONS_M
        pixels = self._flat(stations[:, None], np.array(edges)[None, :])
        self._strip(pixels[:, 0], pixels[:, 1], (158, 152, 144))
        self._strip(pixels[:, 1], pixels[:, 2], (206, 202, 196))
        self._strip(pixels[:, 3], pixels[:, 4], (138, 142, 116))
        self._strip(pixels[:, 2], pixels[:, 3], _ASPHALT)
        for number, (_, _, colour) in enumerate(_LINES):
            self._strip(pixels[:, 5 + 2 * number], pixels[:, 6 + 2 * number], colour)
        self._dashes()
        if self._scene.light is not None:
            self._crossing(self._scene.light)
        cv2.multiply(self._image, self._multiply, dst=self._image, scale=1 / 255)
        cv2.add(self._image, self._add, dst=self._image)
        self._rail()

    def _strip(self, left: Points, right: Points, colour: Colour) -> None:
        polygon = _fixed(np.concatenate([left, right[::-1]]))
        cv2.fillPoly(self._image, [polygon], colour, lineType=cv2.LINE_AA, shift=_SHIFT)

    def _dashes(self) -> None:
        first = math.ceil((self._ego_s_m - 0.5) / 9.0) * 9.0
        starts = first + 9.0 * np.arange(10)
        s = np.maximum(starts[:, None] + np.array([0.0, 0.0, 1.5, 3.0, 3.0, 1.5]), self._ego_s_m + 2.2)
        for middle in (-LANE_WIDTH_M, LANE_WIDTH_M):
            d = middle + np.array([-0.11, 0.11, 0.11, 0.11, -0.11, -0.11])
            self._polygons(self._flat(s, np.broadcast_to(d, s.shape)), _WHITE)

    def _polygons(self, pixels: Points, colour: Colour) -> None:
        for polygon in _fixed(pixels):
            cv2.fillPoly(self._image, [polygon], colour, lineType=cv2.LINE_AA, shift=_SHIFT)

    def _crossing(self, light: TrafficLight) -> None:
        if not -12.0 < light.s_m - self._ego_s_m < 90.0:
            return
        nearest = self._ego_s_m + 2.2
        bars = np.arange(-HALF_WIDTH_M + 0.4, HALF_WIDTH_M - 0.4, 1.0)
        d = bars[:, None] + np.array([0.0, 0.55, 0.55, 0.0])
        s = np.broadcast_to(light.s_m + np.array([2.5, 2.5, 6.5, 6.5]), d.shape)
        self._polygons(self._flat(np.maximum(s, nearest), d), _WHITE)
        stop_d = np.array([[-HALF_WIDTH_M + 0.3, -0.4, -0.4, -HALF_WIDTH_M + 0.3]])
        for at, side in ((light.s_m, stop_d), (light.s_m + CROSSING_DEPTH_M - 0.5, -stop_d)):
            stop_s = np.array([[at, at, at + 0.5, at + 0.5]])
            self._polygons(self._flat(np.maximum(stop_s, nearest), side), _WHITE)

    def _rail(self) -> None:
        """Draw the guard rail on the far side of the oncoming lanes."""
        s = self._ego_s_m + _STATIONS_M
        world = self._scene.road.to_world(s, np.full(len(s), _RAIL_M))
        c, sn = math.cos(self._ego.yaw_rad), math.sin(self._ego.yaw_rad)
        dx, dy = world[:, 0] - self._ego.x_m, world[:, 1] - self._ego.y_m
        x, y = c * dx + sn * dy, c * dy - sn * dx
        low, high = (self._pixels(np.stack([x, y, np.full(len(x), z)], axis=1)) for z in (0.5, 0.8))
        colour = shade(self._look, (176, 182, 190), 28.0, 8.0)
        self._strip(low, high, colour)

    # Things

    def _pixels(self, points_m: Points) -> Points:
        return self._camera.to_pixels(self._camera.to_optical(points_m))

    def _billboard(self, x: float, y: float, outline_m: list[tuple[float, float]], colour: Colour) -> None:
        """Fill an upright outline of (left_m, up_m) corners that faces the camera."""
        project = self._camera.pixel
        corners = [project(x, y + left, up) for left, up in outline_m]
        points = np.array([(_fixed_number(column), _fixed_number(row)) for column, row, _ in corners], dtype=np.int32)
        cv2.fillConvexPoly(self._image, points, colour, lineType=cv2.LINE_AA, shift=_SHIFT)

    def _disc(self, x: float, y: float, z: float, radius_m: float, colour: Colour) -> None:
        column, row, depth = self._camera.pixel(x, y, z)
        if depth < NEAR_M:
            return
        radius = max(1, round(radius_m * self._camera.focal_px / depth * (1 << _SHIFT)))
        at = (_fixed_number(column), _fixed_number(row))
        cv2.circle(self._image, at, radius, colour, -1, lineType=cv2.LINE_AA, shift=_SHIFT)

    def _glow(self, x: float, y: float, z: float, radius_m: float, colour: Colour, strength: float) -> None:
        """Add a soft halo; in rain also its mirror image on the road."""
        column, row, depth = self._camera.pixel(x, y, z)
        if depth < 2.0:
            return
        wanted = min(max(radius_m * self._camera.focal_px / depth, 3.0), 38.0)
        size = min(_SPRITE_SIZES, key=lambda item: abs(item - wanted))
        sprite = self._sprites[size]
        self._blend(sprite, column, row, colour, strength)
        if self._look.wet and z < 1.6:
            mirrored = self._camera.pixel(x, y, -z)
            tall = cv2.resize(sprite, (size + 2, size * 5))
            self._blend(tall, mirrored[0], mirrored[1], colour, 0.35 * strength)

    def _blend(self, sprite: NDArray[np.float32], column: float, row: float, colour: Colour, strength: float) -> None:
        height, width = sprite.shape
        left, top = round(column) - width // 2, round(row) - height // 2
        x0, x1 = max(left, 0), min(left + width, self._camera.width_px)
        y0, y1 = max(top, 0), min(top + height, self._camera.height_px)
        if x0 >= x1 or y0 >= y1:
            return
        part = sprite[y0 - top : y1 - top, x0 - left : x1 - left, None] * np.array(colour, dtype=np.float32) * strength
        window = self._image[y0:y1, x0:x1]
        np.copyto(window, cv2.add(np.ascontiguousarray(window), part.astype(np.uint8)))

    def _tree(self, x: float, y: float, number: int) -> None:
        if x < 2.0:
            return
        height, tint = float(self._tree_height_m[number]), int(self._tree_green[number])
        trunk = shade(self._look, (92, 68, 48), x, y)
        self._billboard(x, y, [(-0.18, 0.0), (0.18, 0.0), (0.14, height * 0.5), (-0.14, height * 0.5)], trunk)
        dark = shade(self._look, (44, 92 + tint, 44), x, y)
        bright = shade(self._look, (70, 128 + tint, 58), x, y)
        self._disc(x, y, height * 0.62, height * 0.28, dark)
        self._disc(x, y + 0.12 * height, height * 0.72, height * 0.2, bright)
        self._disc(x, y - 0.1 * height, height * 0.8, height * 0.2, bright)

    def _street_lamp(self, x: float, y: float) -> None:
        if x < 2.0:
            return
        colour = shade(self._look, (120, 124, 130), x, y)
        self._billboard(x, y, [(-0.07, 0.0), (0.07, 0.0), (0.05, 6.0), (-0.05, 6.0)], colour)
        self._billboard(x, y, [(0.0, 5.9), (1.6, 6.1), (1.6, 6.25), (0.0, 6.05)], colour)
        if self._look.lamps_lit:
            self._billboard(x, y, [(1.1, 6.0), (1.7, 6.0), (1.7, 6.15), (1.1, 6.15)], (255, 226, 160))
            self._glow(x, y + 1.4, 6.0, 0.9, (255, 214, 140), 0.75)

    def _pedestrian(self, x: float, y: float, person: Pedestrian, rate_mps: float) -> None:
        if x < 2.5:
            return
        coat = shade(self._look, person.colour, x, y)
        trousers = shade(self._look, (36, 44, 84), x, y)
        skin = shade(self._look, (226, 176, 140), x, y)
        d, _ = person.at(self._ego.time_s)
        swing = 0.32 * math.sin(d * 4.4) if rate_mps else 0.07
        for foot in (swing, -swing):
            legs = [(-0.1, 0.85), (0.1, 0.85), (foot + 0.09, 0.0), (foot - 0.09, 0.0)]
            self._billboard(x, y, legs, trousers)
        self._billboard(
            x, y, [(-0.24, 0.8), (0.24, 0.8), (0.29, 1.42), (0.12, 1.52), (-0.12, 1.52), (-0.29, 1.42)], coat
        )
        self._disc(x, y, 1.66, 0.15, skin)
        self._billboard(
            x, y, [(-0.15, 1.7), (0.15, 1.7), (0.1, 1.83), (-0.1, 1.83)], shade(self._look, (50, 36, 28), x, y)
        )

    def _light(self, x: float, y: float, light: TrafficLight) -> None:
        if x < 2.0:
            return
        steel = shade(self._look, (74, 78, 84), x, y)
        self._billboard(x, y, [(-0.1, 0.0), (0.1, 0.0), (0.08, 5.6), (-0.08, 5.6)], steel)
        self._billboard(x, y, [(0.0, 5.35), (5.4, 5.35), (5.4, 5.52), (0.0, 5.52)], steel)
        red = light.red(self._ego.time_s)
        for left, base in ((0.0, 2.5), (2.1, 4.25), (5.1, 4.25)):
            self._billboard(x, y, _rectangle(left, base, 0.42, 1.45), shade(self._look, (26, 28, 30), x, y))
            for up, lit, bright, dark in (
                (1.05, red, (255, 28, 20), (70, 10, 10)),
                (0.4, not red, (20, 255, 90), (6, 58, 24)),
            ):
                self._disc(x, y + left, base + up, 0.3, bright if lit else shade(self._look, dark, x, y))
                if lit:
                    self._glow(x, y + left, base + up, 0.75, bright, 0.6)

    def _vehicle(self, x: float, y: float, yaw_rad: float, state: VehicleState) -> None:
        turn = yaw_rad - self._ego.yaw_rad
        c, s = math.cos(turn), math.sin(turn)
        eye_x, eye_y = self._camera.mount_x_m - x, -y
        eye = (c * eye_x + s * eye_y, c * eye_y - s * eye_x, self._camera.mount_z_m)
        spec = state.vehicle
        size = (spec.length_m, spec.width_m, spec.height_m)
        # Two blinks a second, from the drive's own clock.
        indicator = state.indicator if (self._ego.time_s * 2.0) % 1.0 < 0.6 else 0
        lamps = Lamps(brake=state.braking, tail=self._look.lamps_lit, indicator=indicator)
        a, b = size[0] / 2 + 0.1, size[1] / 2 + 0.15
        shadow = np.array([(-a, -b, 0.0), (a, -b, 0.0), (a, b, 0.0), (-a, b, 0.0)])
        faces = [Face(shadow, (44, 45, 49)), *vehicle_faces(size, spec.colour, lamps, eye)]
        corners = np.stack([face.corners_m for face in faces])
        placed = np.stack(
            [
                c * corners[..., 0] - s * corners[..., 1] + x,
                s * corners[..., 0] + c * corners[..., 1] + y,
                corners[..., 2],
            ],
            axis=-1,
        )
        optical = self._camera.to_optical(placed)
        flat = _fixed(self._camera.to_pixels(optical))
        whole = optical[..., 2].min(axis=1) > NEAR_M
        for number, face in enumerate(faces):
            if whole[number]:
                self._face(face, flat[number], placed[number], (x, y))
            else:
                cut = _clip_near(optical[number])
                if len(cut) > 2:
                    self._face(face, _fixed(self._camera.to_pixels(cut)), placed[number], (x, y))

    def _face(self, face: Face, polygon: NDArray[np.int32], placed: Points, at: tuple[float, float]) -> None:
        colour = shade(self._look, face.colour, at[0], at[1], shines=bool(face.glow))
        cv2.fillConvexPoly(self._image, polygon, colour, lineType=cv2.LINE_AA, shift=_SHIFT)
        if face.glow > 0.6:
            x, y, z = placed.mean(axis=0)
            self._glow(float(x), float(y), float(z), 0.55, face.colour, 0.7 * face.glow)

    # The sensor

    def _rain(self, index: int) -> None:
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, 3, index]))
        width, height = self._camera.width_px, self._camera.height_px
        start = rng.uniform((0, -10), (width, height), size=(90, 2))
        length = rng.uniform(5.0, 17.0, size=(90, 1))
        stop = start + length * np.array([-0.18, 1.0])
        layer = self._image.copy()
        streaks = _fixed(np.stack([start, stop], axis=1))
        cv2.polylines(layer, list(streaks), isClosed=False, color=(214, 220, 228), lineType=cv2.LINE_AA, shift=_SHIFT)
        cv2.addWeighted(layer, 0.4, self._image, 0.6, 0.0, dst=self._image)

    def _grain(self, index: int) -> None:
        top, left = (index * 37) % 64, (index * 23) % 64
        window = (slice(top, top + self._camera.height_px), slice(left, left + self._camera.width_px))
        cv2.add(self._image, self._brighter[window], dst=self._image)
        cv2.subtract(self._image, self._darker[window], dst=self._image)


def _fixed(pixels: Points) -> NDArray[np.int32]:
    """Turn pixels into OpenCV's fixed point, kept well inside its range."""
    return np.asarray(np.round(np.clip(pixels, -4000.0, 4000.0) * (1 << _SHIFT)), dtype=np.int32)


def _fixed_number(pixel: float) -> int:
    """Turn one coordinate into OpenCV's fixed point, as `_fixed` does."""
    return round(min(max(pixel, -4000.0), 4000.0) * (1 << _SHIFT))


def _rectangle(left: float, base: float, half_m: float, tall_m: float) -> list[tuple[float, float]]:
    return [
        (left - half_m, base),
        (left + half_m, base),
        (left + half_m, base + tall_m),
        (left - half_m, base + tall_m),
    ]


def _sprite(radius: int) -> NDArray[np.float32]:
    axis = np.arange(-radius, radius + 1) / radius
    distance = np.hypot(axis[:, None], axis[None, :])
    return np.asarray(np.clip(1.0 - distance, 0.0, 1.0) ** 2, dtype=np.float32)


def _clip_near(optical: Points) -> Points:
    """Cut a polygon off at the near plane (Sutherland and Hodgman, Communications of the ACM 17(1), 1974)."""
    kept: list[Points] = []
    for here, after in zip(optical, np.roll(optical, -1, axis=0), strict=True):
        if here[2] > NEAR_M:
            kept.append(here)
        if (here[2] > NEAR_M) != (after[2] > NEAR_M):
            kept.append(here + (NEAR_M * 1.001 - here[2]) / (after[2] - here[2]) * (after - here))
    return np.array(kept).reshape(-1, 3)
