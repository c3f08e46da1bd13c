"""The recipes' transforms against slow definitions, and batches against single images."""

from __future__ import annotations

import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnetc import recipes as r
from resnetc.diagnostics import RunError, UsageError
from resnetc.train import transforms
from resnetc.train.adapt import adaptation
from resnetc.train.datasets import FileImages, TensorImages
from resnetc.train.draws import Order, Samples
from resnetc.train.feed import Workers, batches, measure, view
from resnetc.train.transforms import Statistics, apply, as_float, check, per_image_part

CPU = torch.device("cpu")


def _noise(count: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)


def _samples(count: int, seed: int = 0, epoch: int = 0) -> Samples:
    indices = torch.arange(count)
    return Samples(seed, torch.full_like(indices, epoch), indices)


def test_every_transform_of_a_recipe_is_applied() -> None:
    assert set(transforms._APPLY) == set(typing.get_args(r.Transform))


def test_the_random_crop_is_a_window_of_each_image() -> None:
    images = _noise(64, 3, 7, 9)
    cropped = apply([r.RandomCrop(5)], images, _samples(64), None)
    assert cropped.shape == (64, 3, 5, 5)
    places = []
    for image, crop in zip(images, cropped, strict=True):
        found = [
            (top, left)
            for top in range(3)
            for left in range(5)
            if torch.equal(image[:, top : top + 5, left : left + 5], crop)
        ]
        assert len(found) == 1
        places += found
    assert {top for top, _ in places} == set(range(3))
    assert {left for _, left in places} == set(range(5))


@pytest.mark.parametrize("shape", [(5, 3, 7, 9), (1, 1, 6, 5)])
def test_the_host_and_a_device_cut_and_mirror_alike(shape: tuple[int, ...]) -> None:
    images, samples = _noise(*shape), _samples(shape[0])
    tops, lefts = samples.integers(2, 0), samples.integers(2, 1)
    cut = transforms._windows(images, tops, lefts, 4)
    assert torch.equal(cut, transforms._gathered(images, tops, lefts, 4))
    mirrored = torch.arange(shape[0]) % 2 == 0
    turned = transforms._turned(images, mirrored)
    assert torch.equal(turned, transforms._turned_at_once(images, mirrored))


def test_the_flip_mirrors_about_half_of_the_images_left_to_right() -> None:
    images = _noise(200, 1, 3, 4)
    flipped = apply([r.HorizontalFlip()], images, _samples(200), None)
    mirrored = [torch.equal(a.flip(-1), b) for a, b in zip(images, flipped, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(images, flipped, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130


def test_pad_and_center_crop_undo_each_other() -> None:
    images = _noise(2, 3, 6, 6)
    padded = apply([r.Pad(2)], images, _samples(2), None)
    assert padded.shape == (2, 3, 10, 10)
    assert int(padded.long().sum()) == int(images.long().sum())
    assert torch.equal(apply([r.CenterCrop(6)], padded, _samples(2), None), images)


def test_the_pad_is_the_mean_behind_subtract_mean_and_black_before_it() -> None:
    images, mean = _noise(1, 1, 2, 2), torch.full((1, 2, 2), 0.25)
    statistics = Statistics(mean, torch.tensor([0.25]), torch.tensor([1.0]))
    after = apply([r.SubtractMean(), r.Pad(1)], images, _samples(1), statistics)
    assert float(after[0, 0, 0, 0]) == 0.0
    pixel = r.SubtractPixelMean()
    before = apply([r.Pad(1), pixel], images, _samples(1), statistics)
    assert float(before[0, 0, 0, 0]) == -0.25


def test_resize_shorter_draws_every_size_of_its_range_and_keeps_the_aspect() -> None:
    image = _noise(1, 3, 20, 40)
    sizes = set()
    for index in range(60):
        one = Samples(0, torch.tensor([0]), torch.tensor([index]))
        resized = apply([r.ResizeShorter((8, 11))], image, one, None)
        sizes.add(tuple(resized.shape[-2:]))
    assert sizes == {(8, 16), (9, 18), (10, 20), (11, 22)}


def test_pca_color_adds_the_components_by_their_weights() -> None:
    images = torch.full((5, 3, 2, 2), 0.5)
    samples = _samples(5, seed=4)
    coloured = apply([r.Pad(0), r.PcaColor(0.1)], images, samples, None)
    weights = samples.normal(slot=1, count=3).numpy() * 0.1
    values, vectors = np.array(transforms.PCA_EIGENVALUES), np.array(transforms.PCA_EIGENVECTORS)
    for image, alpha in zip(coloured.numpy(), weights, strict=True):
        expected = 0.5 + vectors @ (alpha * values)
        assert np.allclose(image, expected[:, None, None], atol=1e-6)


def test_the_pca_vectors_are_a_rotation() -> None:
    vectors = np.array(transforms.PCA_EIGENVECTORS)
    assert np.allclose(vectors @ vectors.T, np.eye(3), atol=2e-3)


def test_statistics_are_those_of_numpy() -> None:
    pixels = _noise(601, 3, 4, 4)
    images = TensorImages(pixels, torch.zeros(601, dtype=torch.int64))
    found = measure(images, (3, 4, 4), (r.SubtractMean(),), Workers())
    unit = pixels.numpy().astype(np.float64) / 255
    assert np.allclose(found.mean.numpy(), unit.mean(0), atol=1e-7)
    assert np.allclose(found.pixel_mean.numpy(), unit.mean((0, 2, 3)), atol=1e-7)
    assert np.allclose(found.std.numpy(), unit.std((0, 2, 3)), atol=1e-6)
    whitened = apply([r.SubtractPixelMean(), r.DivideStd()], pixels, _samples(601), found).double()
    assert whitened.mean((0, 2, 3)).abs().max() < 1e-5
    assert (whitened.std((0, 2, 3)) - 1).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("chain", "size", "message"),
    [
        ([r.Pad(4), r.SubtractMean(), r.RandomCrop(32)], (32, 32), "images are 40x40 there"),
        ([r.RandomCrop(33)], (32, 32), "does not fit into images of 32x32"),
        ([r.Pad(4)], (32, 32), "make images of 40x40, the network takes 32x32"),
        ([r.ResizeShorter((32, 40))], (32, 32), "make images of differing sizes"),
        ([r.SubtractMean(), r.CenterCrop(32)], None, "images are differing sizes there"),
    ],
)
def test_transforms_that_do_not_end_at_the_input_are_refused(
    chain: list[r.Transform], size: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check(chain, size, (3, 32, 32))


def test_pca_color_is_refused_for_grey_networks() -> None:
    with pytest.raises(UsageError, match="three input channels"):
        check([r.PcaColor()], (8, 8), (1, 8, 8))


@pytest.mark.parametrize("preset", r.PRESETS)
def test_presets_end_at_the_input(preset: str) -> None:
    for size in (8, 32, 64, 224):
        recipe = r.PRESETS[preset](size)
        for chain in (recipe.augment, recipe.evaluate):
            check(chain, (size, size), (3, size, size))


@pytest.mark.parametrize(
    ("chain", "size", "alone"),
    [
        ([r.SubtractMean(), r.Pad(4), r.RandomCrop(32), r.HorizontalFlip()], (32, 32), 0),
        ([r.ResizeShorter((256, 480)), r.RandomCrop(224), r.HorizontalFlip()], (32, 32), 2),
        ([r.ResizeShorter((36, 36)), r.RandomCrop(32)], (32, 32), 0),
        ([r.ResizeShorter((256, 256)), r.CenterCrop(224), r.SubtractMean()], None, 2),
        ([r.HorizontalFlip(), r.CenterCrop(8), r.Pad(1)], None, 2),
    ],
)
def test_only_images_of_differing_sizes_are_handled_alone(
    chain: list[r.Transform], size: tuple[int, int] | None, alone: int
) -> None:
    assert per_image_part(chain, size) == alone


# -------------------------------------------------------------------------------- adaptation


def test_grey_is_repeated_and_28_is_padded_to_32() -> None:
    grey = _noise(3, 1, 28, 28)
    adapt = adaptation((1, 28, 28), (3, 32, 32))
    made = adapt(grey)
    assert made.shape == (3, 3, 32, 32)
    assert torch.equal(made[:, 0, 2:30, 2:30], grey[:, 0])
    assert torch.equal(made[:, 0], made[:, 2])
    assert int(made[:, 0].long().sum()) == int(grey.long().sum())
    assert "padded by 2 and 2" in str(adapt)


def test_8_is_resized_to_32_and_32_to_28() -> None:
    flat = torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)
    made = adaptation((1, 8, 8), (1, 32, 32))(flat)
    assert made.shape == (2, 1, 32, 32)
    assert set(made.unique().tolist()) == {77}
    assert adaptation((3, 32, 32), (3, 28, 28)).resize == (28, 28)


def test_an_odd_gap_is_padded_more_on_the_right() -> None:
    assert adaptation((1, 28, 28), (1, 31, 28)).pad == (0, 0, 1, 2)


def test_colour_becomes_luma() -> None:
    red = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    red[:, 0] = 255
    made = adaptation((3, 2, 2), (1, 2, 2))(red)
    assert made.shape == (1, 1, 2, 2)
    assert abs(int(made[0, 0, 0, 0]) - round(0.299 * 255)) <= 1


def test_nothing_is_done_where_nothing_is_to_do() -> None:
    assert str(adaptation((3, 32, 32), (3, 32, 32))) == "as they are"


def test_two_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="2 channels"):
        adaptation((2, 8, 8), (3, 8, 8))


# -------------------------------------------------------------------------------------- feeds


@pytest.fixture
def photos(tmp_path: Path) -> FileImages:
    """Ten small PNGs of differing sizes."""
    paths = []
    for i in range(10):
        path = tmp_path / f"{i}.png"
        pixels = _noise(1, 20 + i, 26 - i, 3)[0].numpy()
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return FileImages(tuple(paths), torch.arange(10) % 3)


_SCALE = (r.ResizeShorter((12, 18)), r.RandomCrop(8), r.HorizontalFlip())


def _run(
    images: FileImages | TensorImages, batch: int, workers: int
) -> dict[tuple[int, int], torch.Tensor]:
    seen = view(images, (3, 8, 8), _SCALE, None, seed=3)
    steps = Order(len(images), batch, seed=3).steps(0, 20 // batch)
    made = {}
    for samples, (pixels, labels) in zip(
        steps, batches(seen, steps, CPU, Workers(workers)), strict=True
    ):
        assert labels.tolist() == images.labels[samples.indices].tolist()
        for n, key in enumerate(
            zip(samples.epochs.tolist(), samples.indices.tolist(), strict=True)
        ):
            made[key] = pixels[n]
    return made


def test_images_do_not_depend_on_batches_or_workers(photos: FileImages) -> None:
    alone = _run(photos, batch=1, workers=0)
    assert len(alone) == 20
    for batch, workers in ((5, 0), (4, 2)):
        made = _run(photos, batch, workers)
        assert made.keys() == alone.keys()
        assert all(torch.equal(made[key], alone[key]) for key in alone)


def test_the_part_done_alone_and_the_part_done_together_are_one_chain(photos: FileImages) -> None:
    for (epoch, index), made in _run(photos, batch=5, workers=0).items():
        one = Samples(3, torch.tensor([epoch]), torch.tensor([index]))
        whole = as_float(apply(_SCALE, photos.image(index)[None], one, None))[0]
        assert torch.equal(made, whole)


def test_an_image_looks_otherwise_in_another_epoch(photos: FileImages) -> None:
    made = _run(photos, batch=5, workers=0)
    assert any(not torch.equal(made[0, i], made[1, i]) for i in range(10))


def test_a_small_set_gives_the_same_whole_or_image_by_image() -> None:
    pixels, labels = _noise(12, 1, 8, 8), torch.arange(12) % 4
    chain = (r.Pad(2), r.RandomCrop(8), r.HorizontalFlip())
    together = view(TensorImages(pixels, labels), (3, 8, 8), chain, None, seed=1)
    assert together.alone == 0
    plan = Order(12, 12, seed=1).steps(0, 2)
    for samples, (images, _) in zip(plan, batches(together, plan, CPU, Workers()), strict=True):
        for n in range(12):
            epoch, index = int(samples.epochs[n]), int(samples.indices[n])
            one = Samples(1, torch.tensor([epoch]), torch.tensor([index]))
            adapted = together.adapt(pixels[index : index + 1])
            assert torch.equal(as_float(apply(chain, adapted, one, None))[0], images[n])


def test_files_without_a_resize_are_fitted_to_the_input(photos: FileImages) -> None:
    seen = view(photos, (3, 8, 8), (r.HorizontalFlip(),), None)
    assert [t.word for t in seen.transforms] == ["resize_shorter", "center_crop", "hflip"]
    images, _ = next(iter(batches(seen, Order(10, 10, 0).steps(0, 1), CPU, Workers())))
    assert images.shape == (10, 3, 8, 8)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named(photos: FileImages, workers: int) -> None:
    photos.paths[4].write_bytes(photos.paths[4].read_bytes()[:60])
    seen = view(photos, (3, 8, 8), _SCALE, None)
    plan = Order(10, 5, 0).steps(0, 2)
    with pytest.raises(RunError, match=r"4\.png: this image cannot be read") as error:
        list(batches(seen, plan, CPU, Workers(workers)))
    assert "Traceback" not in str(error.value)


def test_an_image_that_is_too_small_is_explained(photos: FileImages) -> None:
    seen = view(photos, (3, 8, 8), (r.ResizeShorter((6, 6)), r.RandomCrop(8)), None)
    with pytest.raises(UsageError, match="cannot crop 8x8"):
        list(batches(seen, Order(10, 5, 0).steps(0, 2), CPU, Workers()))
