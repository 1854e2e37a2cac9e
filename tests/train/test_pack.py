from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from poselift.errors import FormatError, InputError
from poselift.train.codec import decoded, encoded, loosened, product, squeezed, without_flips
from poselift.train.flesh import PARENTS, ROTATIONS
from poselift.train.pack import Pack, read_pack, write_pack


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between rotations given as quaternions * 32767."""
    a, b = (q / np.linalg.norm(q.astype(float), axis=-1, keepdims=True) for q in (a, b))
    apart = np.minimum(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    return np.degrees(4 * np.arcsin(apart / 2))


class TestRoundTrip:
    def test_everything_comes_back(self, tmp_path: Path, made_up_pack: Pack) -> None:
        write_pack(tmp_path / "a.npz", made_up_pack)
        back = read_pack(tmp_path / "a.npz")
        assert np.abs(back.root_m - made_up_pack.root_m).max() <= 0.00026
        # A step is 0.05 degrees and half of it may be lost in each of three axes and each bone of
        # the longest chain, eight from pelvis to hand; on average far less is.
        off = angles_deg(back.quaternion, made_up_pack.quaternion)
        assert off[:, 0].max() < 0.05
        assert off.max() < 0.25
        assert np.sqrt((off**2).mean()) < 0.06
        for field in fields(Pack):
            if field.name not in ("quaternion", "root_m", "digest"):
                a, b = getattr(back, field.name), getattr(made_up_pack, field.name)
                np.testing.assert_array_equal(a, b)
                assert np.asarray(a).dtype == np.asarray(b).dtype
        assert len(back.digest) == 64

    def test_same_motion_same_file_and_any_change_another_digest(
        self, tmp_path: Path, made_up_pack: Pack
    ) -> None:
        paths = [tmp_path / name for name in ("a.npz", "b.npz", "c.npz")]
        write_pack(paths[0], made_up_pack)
        write_pack(paths[1], made_up_pack)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        write_pack(paths[2], replace(made_up_pack, licence=("other terms",)))
        assert read_pack(paths[0]).digest != read_pack(paths[2]).digest

    def test_rotations_run_on_through_whole_turns(self) -> None:
        angle = np.linspace(0, 4 * np.pi, 400)
        quaternion = np.zeros((400, len(ROTATIONS), 4))
        quaternion[..., 0] = np.cos(angle / 2)[:, None]
        quaternion[..., 3] = np.sin(angle / 2)[:, None]
        rough = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)  # with flips
        frames = np.array([400])
        got, _ = decoded(encoded(rough * 32767, np.zeros((400, 3)), frames), frames)
        np.testing.assert_allclose(got, quaternion * 32767, atol=20)

    def test_clips_do_not_touch_each_other(self, made_up_pack: Pack) -> None:
        frames, root = made_up_pack.frames, made_up_pack.root_m.copy()
        root[frames[0] :] += 7.0
        changes = encoded(made_up_pack.quaternion, root, frames)
        quaternion, roots = decoded(changes, frames)
        alone = slice(int(frames[0]), int(2 * frames[0]))
        one = decoded(changes[:, alone], frames[1:2])
        np.testing.assert_array_equal(quaternion[alone], one[0])
        np.testing.assert_array_equal(roots[alone], one[1])

    def test_whole_numbers_of_any_size(self) -> None:
        values = np.array([[0, -1, 1, 255, -256], [70_000, -(2**31), 2**31 - 1, 3, -3]], np.int32)
        np.testing.assert_array_equal(loosened(squeezed(values), np.int32, (2, 5)), values)
        with pytest.raises(FormatError, match="2 channels of 4 frames"):
            loosened(squeezed(values), np.int32, (2, 4))

    def test_smooth_motion_takes_few_bytes(self, tmp_path: Path, made_up_pack: Pack) -> None:
        write_pack(tmp_path / "a.npz", made_up_pack)
        raw = made_up_pack.quaternion.nbytes + made_up_pack.root_m.nbytes
        assert (tmp_path / "a.npz").stat().st_size < raw / 5


class TestQuaternions:
    def test_product_turns_by_the_second_first(self) -> None:
        half = np.sqrt(0.5)
        about_x, about_z = np.array([half, half, 0, 0]), np.array([half, 0, 0, half])
        # y becomes z about x, which stays z; x stays x about x, which becomes y about z.
        np.testing.assert_allclose(product(about_z, about_x), [0.5, 0.5, 0.5, 0.5])
        np.testing.assert_allclose(product(about_x, about_z), [0.5, 0.5, -0.5, 0.5])

    def test_signs_start_positive_and_run_on(self) -> None:
        q = np.array([[-0.9, 0.1, 0, 0], [0.8, 0, 0, 0.1], [-0.1, 0, 0.9, 0], [-0.1, 0, -0.9, 0]])
        got = without_flips(q)
        assert got[0, 0] > 0
        assert ((got[1:] * got[:-1]).sum(-1) > 0).all()

    def test_parents_come_first(self) -> None:
        assert PARENTS[0] == -1
        assert all(0 <= parent < bone for bone, parent in enumerate(PARENTS[1:], start=1))
        chain = dict(zip(ROTATIONS, (ROTATIONS[p] for p in PARENTS), strict=True))
        assert (chain["rfoot"], chain["rtibia"], chain["lhumerus"]) == (
            "rtibia",
            "rfemur",
            "lclavicle",
        )
        assert (chain["rclavicle"], chain["head"], chain["lfemur"]) == (
            "thorax",
            "upperneck",
            "lhipjoint",
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("frames", None, "frames: expected this field"),
            ("weight", np.ones(5), r"weight: expected f4 \(5,\), found <f8 \(5,\)"),
            ("rate_hz", np.full(4, 60, "f4"), r"rate_hz: expected f4 \(5,\), found <f4 \(4,\)"),
            ("rate_hz", np.full(5, np.nan, "f4"), "rate_hz: .*found nan"),
            ("zero", np.full(5, 1, "i2"), "zero: expected 0 to 0, found 1"),
            ("split", np.full(5, 3, "i1"), "split: expected 0 to 2, found 3"),
            ("source", np.full(31, 25, "i2"), "source: expected 0 to 24"),
            ("frames", np.full(5, 239), "motion: .*78 channels of 1195 frames"),
            ("motion", np.zeros(9, "u1"), "motion: LZMA stream"),
            (
                "subject",
                np.array(list("vwxyz")),
                "digest: expected [0-9a-f]{64}, found [0-9a-f]{64}",
            ),
            ("format", np.array("poselift motion pack 1"), "expected format .*pack 2"),
            ("format", None, "found another tool's file"),
        ],
    )
    def test_names_file_and_field(
        self, tmp_path: Path, tiny_pack: Path, field: str, value: np.ndarray | None, message: str
    ) -> None:
        arrays = dict(np.load(tiny_pack))
        if value is None:
            del arrays[field]
        else:
            arrays[field] = value
        np.savez(tmp_path / "odd.npz", **arrays)
        with pytest.raises(FormatError, match=rf"odd\.npz.*{message}"):
            read_pack(tmp_path / "odd.npz")

    def test_damaged_and_foreign_files(self, tmp_path: Path, tiny_pack: Path) -> None:
        odd = tmp_path / "odd.npz"
        whole = tiny_pack.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0xFF
        for content in (whole[: len(whole) // 2], bytes(flipped), b"text", b"PK\x03\x04 no zip"):
            odd.write_bytes(content)
            with pytest.raises(FormatError, match=r"odd\.npz: expected a sound"):
                read_pack(odd)
        np.save(tmp_path / "one.npy", np.zeros(3))
        (tmp_path / "one.npy").rename(odd)
        with pytest.raises(FormatError, match="expected a sound"):
            read_pack(odd)
        np.savez(odd, anything=np.array({"a": 1}, object))
        with pytest.raises(FormatError, match=r"odd\.npz: expected a sound"):
            read_pack(odd)
        with pytest.raises(FormatError, match="does not exist"):
            read_pack(tmp_path / "none.npz")

    def test_packs_that_break_their_words_are_not_written(
        self, tmp_path: Path, made_up_pack: Pack
    ) -> None:
        for change, message in (
            ({"start": made_up_pack.start + 1}, "clips back to back"),
            ({"root_m": made_up_pack.root_m[:-1]}, "pack: root_m: expected"),
            ({"contact": made_up_pack.contact[:, :1]}, "pack: contact: expected"),
            ({"quaternion": np.zeros_like(made_up_pack.quaternion)}, "rotations, found zeros"),
        ):
            with pytest.raises(InputError, match=message):
                write_pack(tmp_path / "a.npz", replace(made_up_pack, **change))
        assert not list(tmp_path.iterdir())
