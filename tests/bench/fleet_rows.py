"""The statements that write the rows of a fleet; `tests.bench.fleet` runs them."""

# ruff: noqa: S608 - constants of this module alone are put into its statements
from __future__ import annotations

from platform_lib.catalog.cells import SIDES
from platform_lib.catalog.clips import CLIP_NS

FULL_DRIVES = 1_000_000
FILES, CLIPS = 10, 100
"""Of each drive."""
DRIVES_A_VEHICLE = 500
DRIVE_EVERY_NS = 5_400_000_000_000
T0_NS = 1_760_000_000_000_000_000 // CLIP_NS * CLIP_NS
CITIES = ((48.137, 11.575), (52.520, 13.405), (47.377, 8.541), (37.775, -122.419), (35.682, 139.692))
WIDE_DEG, HIGH_DEG = 0.30, 0.20
WEATHERS = ("clear", "rain", "fog", "snow", "night")
EVENTS = ("none", "cut_in", "pedestrian", "lead", "traffic_light", "roadworks")
TAGS = ("cruise", "lead", "traffic_light", "pedestrian", "cut_in", "roadworks", "standing", "animal")
DATASETS = 20

# n: a drive, from 0; its number is one more. k: a file or clip of it, from 0.
_CITIES = ", ".join(f"({number}, {lat}, {lon})" for number, (lat, lon) in enumerate(CITIES))
_DRIVES = f"""
    SELECT n, n % :vehicles AS v, n / :vehicles AS s,
           {T0_NS} + (n / :vehicles) * {DRIVE_EVERY_NS} + floor(bench_pick(n, 1) * 100)\\:\\:bigint * {CLIP_NS} AS listed_ns,
           CASE WHEN bench_pick(n, 2) < 0.7 THEN 'blurred' WHEN bench_pick(n, 2) < 0.8 THEN 'unknown'
                WHEN bench_pick(n, 2) < 0.85 THEN 'present' ELSE 'none_present' END AS pii_state,
           1 + floor(power(bench_pick(n, 3), 2) * {len(WEATHERS) * len(EVENTS)})\\:\\:int AS odd_id,
           CASE WHEN bench_pick(n % :vehicles, 4) < 0.5 THEN 0
                ELSE 1 + floor(bench_pick(n % :vehicles, 5) * {len(CITIES) - 1})\\:\\:int END AS city
    FROM generate_series(0\\:\\:bigint, :drives - 1) AS n OFFSET 0
"""
_ROUTES = f"""
    SELECT drive.*, latitude + (bench_pick(n, 6) - 0.5) * {HIGH_DEG} AS lat0, longitude + (bench_pick(n, 7) - 0.5) * {WIDE_DEG} AS lon0,
           (bench_pick(n, 8) - 0.5) * {HIGH_DEG} AS dlat, (bench_pick(n, 9) - 0.5) * {WIDE_DEG} AS dlon
    FROM ({_DRIVES}) AS drive JOIN (VALUES {_CITIES}) AS c (city, latitude, longitude) USING (city)
    OFFSET 0
"""
_FILE = "encode(sha256(('file ' || n || ' ' || k)\\:\\:bytea), 'hex')"
_MADE = "encode(sha256(('{0} ' || {1})\\:\\:bytea), 'hex')"
_SPLIT = "CASE WHEN n % 10 = 0 THEN 'test' WHEN n % 10 = 1 THEN 'val' ELSE 'train' END"
STATEMENTS: dict[str, tuple[str, ...]] = {
    "vehicles": (
        "INSERT INTO vehicles (vehicle) SELECT 'v' || lpad(v\\:\\:text, 5, '0') FROM generate_series(0, :vehicles - 1) AS v",
    ),
    "drives": (
        f"""
        INSERT INTO drives (drive_id, vehicle, session, drive_number, listed_ns, stop_ns, pii_state)
        SELECT 'v' || lpad(v\\:\\:text, 5, '0') || '_s' || lpad(s\\:\\:text, 5, '0'), 'v' || lpad(v\\:\\:text, 5, '0'),
               's' || lpad(s\\:\\:text, 5, '0') || '-' || v, n + 1, listed_ns, listed_ns + {CLIPS * CLIP_NS}, pii_state
        FROM ({_DRIVES}) AS drive ORDER BY n
        """,
        "SELECT setval(pg_get_serial_sequence('drives', 'drive_number'), :drives)",
    ),
    "files": (
        f"""
        INSERT INTO files (file_sha256, bytes) SELECT {_FILE}, 100000000 + floor(bench_pick(n, 10 + k) * 1e9)\\:\\:bigint
        FROM generate_series(0\\:\\:bigint, :drives - 1) AS n, generate_series(0, {FILES - 1}) AS k
        """,
    ),
    "file_paths": (
        f"""
        INSERT INTO file_paths (file_sha256, path) SELECT {_FILE}, '/logs/' || n % :vehicles || '/' || n / :vehicles || '/' || k || '.mf4'
        FROM generate_series(0\\:\\:bigint, :drives - 1) AS n, generate_series(0, {FILES - 1}) AS k
        """,
    ),
    "commits": ("INSERT INTO commits (iceberg_snapshot_id, lance_version) VALUES (1, 1)",),
    "ingests": (
        f"""
        INSERT INTO ingests (file_sha256, reader_version, schema_version, options_sha256, state, drive_id, commit_id,
                             signal_rows, sample_rows, start_ns, stop_ns, pii_state, metadata, ingest_id)
        SELECT {_FILE}, '12', 3, repeat('0', 64), 'committed',
               'v' || lpad(v\\:\\:text, 5, '0') || '_s' || lpad(s\\:\\:text, 5, '0'), 1, 1000000, 10000,
               listed_ns + k * 1000000, listed_ns + {CLIPS * CLIP_NS}, pii_state, '{{"weather"\\: "rain"}}', n * {FILES} + k + 1
        FROM ({_DRIVES}) AS drive, generate_series(0, {FILES - 1}) AS k
        """,
    ),
    "streams": (
        f"""
        INSERT INTO streams (ingest_id, stream, kind, kept_as, messages, rows)
        SELECT i, '/imu', 'topic', 'signals', 10000, 1000000
        FROM generate_series(1\\:\\:bigint, \\:drives * {FILES}) AS i
        """.replace("\\:drives", ":drives"),
    ),
    "odd_cells": tuple(
        f"INSERT INTO odd_cells (odd_id, odd_cell) VALUES ({number}, 'weather={weather}, event={event}')"
        for number, (weather, event) in enumerate(((w, e) for w in WEATHERS for e in EVENTS), 1)
    ),
    "tags": tuple(f"INSERT INTO tags (tag_id, tag) VALUES ({number}, '{tag}')" for number, tag in enumerate(TAGS, 1)),
    "clips": (
        f"""
        INSERT INTO clips (drive_number, start_ns, odd_id, pii_state, cell, latitude_e7, longitude_e7)
        SELECT number, start_ns, odd_id, state, (x.bits << 1) | y.bits, (latitude * 1e7)\\:\\:int, (longitude * 1e7)\\:\\:int
        FROM (
            SELECT n + 1 AS number, listed_ns + k * {CLIP_NS} AS start_ns, odd_id, pii_state\\:\\:pii_state AS state,
                   lat0 + dlat * k / {CLIPS} AS latitude, lon0 + dlon * k / {CLIPS} AS longitude
            FROM ({_ROUTES}) AS drive, generate_series(0, {CLIPS - 1}) AS k
        ) AS clip
        JOIN bench_spread AS x ON x.n = floor((longitude + 180) / 360 * {SIDES})\\:\\:int
        JOIN bench_spread AS y ON y.n = floor((latitude + 90) / 180 * {SIDES})\\:\\:int
        """,
    ),
    "drive_places": (
        """
        INSERT INTO drive_places (cell, listed_ns, drive_number)
        SELECT c.cell, drive.listed_ns, c.drive_number
        FROM (SELECT DISTINCT ON (drive_number, cell) drive_number, cell FROM (
                SELECT drive_number, cell, lag(cell) OVER (PARTITION BY drive_number ORDER BY start_ns) AS last_cell
                FROM clips) AS way WHERE cell IS DISTINCT FROM last_cell) AS c
        JOIN drives AS drive USING (drive_number)
        """,
    ),
    "clip_tags": (
        f"""
        INSERT INTO clip_tags (tag_id, start_ns, drive_number)
        SELECT 1 + floor(power(bench_pick(drive_number * {CLIPS}\\:\\:bigint + start_ns / {CLIP_NS}, 30), 3) * {len(TAGS)})\\:\\:int,
               start_ns, drive_number
        FROM clips WHERE bench_pick(drive_number * {CLIPS}\\:\\:bigint + start_ns / {CLIP_NS}, 31) < 0.1
        """,
    ),
    "artefacts": (
        f"""
        INSERT INTO artefacts (sha256, kind, uri)
        SELECT {_MADE.format("lake", "i")}, 'lake', '/lake' FROM generate_series(0, 999) AS i
        UNION ALL SELECT {_MADE.format("dataset", "i")}, 'dataset', '/datasets/d' || i FROM generate_series(0, {DATASETS - 1}) AS i
        UNION ALL SELECT {_MADE.format("run", "i")}, 'run', '/runs/r' || i FROM generate_series(0, {DATASETS * 10 - 1}) AS i
        UNION ALL SELECT {_MADE.format("model", "i")}, 'model', '/runs/r' || i || '/model.onnx' FROM generate_series(0, {DATASETS * 10 - 1}) AS i
        UNION ALL SELECT {_MADE.format("bundle", "i")}, 'bundle', '/bundles/b' || i FROM generate_series(0, {DATASETS - 1}) AS i
        """,
    ),
    "datasets": (
        f"""
        INSERT INTO datasets (sha256, dataset_number, name, train, val, test, bytes, clips_noted, created_utc)
        SELECT {_MADE.format("dataset", "i")}, i + 1, 'd' || i, 1000000, 100000, 100000, 1000000000, true, now()
        FROM generate_series(0, {DATASETS - 1}) AS i
        """,
    ),
    # Dataset d takes one drive in a hundred, and all of its clips; its edges name the ten files of each.
    "dataset_clips": (
        f"""
        INSERT INTO dataset_clips (dataset_number, drive_number, start_ns, samples, split)
        SELECT d + 1, n + 1, listed_ns + k * {CLIP_NS}, 100, {_SPLIT}
        FROM ({_DRIVES}) AS drive, generate_series(0, {CLIPS - 1}) AS k, generate_series(0, {DATASETS - 1}) AS d
        WHERE floor(bench_pick(n, 40) * 100) IN (d, (d + 50))
        """,
    ),
    "edges": (
        f"""
        INSERT INTO edges (sha256, input_sha256, role)
        SELECT {_MADE.format("lake", "n % 1000")}, {_FILE}, 'file ' || left({_FILE}, 12)
        FROM generate_series(0\\:\\:bigint, :drives - 1) AS n, generate_series(0, {FILES - 1}) AS k WHERE n % 10 = 0
        UNION ALL
        SELECT {_MADE.format("dataset", "d")}, {_FILE}, {_SPLIT} || '/' || n || '/' || k
        FROM generate_series(0\\:\\:bigint, :drives - 1) AS n, generate_series(0, {FILES - 1}) AS k,
             generate_series(0, {DATASETS - 1}) AS d
        WHERE floor(bench_pick(n, 40) * 100) IN (d, (d + 50))
        UNION ALL SELECT {_MADE.format("run", "i")}, {_MADE.format("dataset", f"i % {DATASETS}")}, 'dataset'
        FROM generate_series(0, {DATASETS * 10 - 1}) AS i
        UNION ALL SELECT {_MADE.format("model", "i")}, {_MADE.format("run", "i")}, 'run'
        FROM generate_series(0, {DATASETS * 10 - 1}) AS i
        UNION ALL SELECT {_MADE.format("bundle", "i")}, {_MADE.format("model", "i")}, 'model'
        FROM generate_series(0, {DATASETS - 1}) AS i
        """,
    ),
    "runs": (
        f"""
        INSERT INTO runs (sha256, name, created_utc) SELECT {_MADE.format("run", "i")}, 'r' || i, now()
        FROM generate_series(0, {DATASETS * 10 - 1}) AS i
        """,
    ),
    "models": (
        f"""
        INSERT INTO models (sha256, run_sha256, file, bytes)
        SELECT {_MADE.format("model", "i")}, {_MADE.format("run", "i")}, 'model.onnx', 1000000
        FROM generate_series(0, {DATASETS * 10 - 1}) AS i
        """,
    ),
    "bundles": (
        f"""
        INSERT INTO bundles (sha256, name, bytes, created_utc) SELECT {_MADE.format("bundle", "i")}, 'b' || i, 1000000, now()
        FROM generate_series(0, {DATASETS - 1}) AS i
        """,
    ),
}
