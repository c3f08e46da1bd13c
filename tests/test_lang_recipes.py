"""Recipe sections: the records are the schema, variants override fields."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_files import Folder, folder

from resnetc import load
from resnetc.checking import check_file
from resnetc.lang.values import show
from resnetc.recipes import (
    DATA_SETS,
    WORDS,
    AdamW,
    BinaryCrossEntropy,
    Condition,
    Cosine,
    CrossEntropy,
    Cutmix,
    DataSet,
    Ema,
    HeNormal,
    HorizontalFlip,
    Lamb,
    Mixup,
    Pad,
    Plateau,
    Progressive,
    RandAugment,
    RandomErase,
    RandomResizedCrop,
    Recipe,
    ResizeShorter,
    Sgd,
    Step,
    Warmup,
    he2015_cifar,
    he2015_cifar_warmup,
)

__all__ = ["folder"]

NETWORK = "network n { input 3x8x8  relu }\n"


def recipes(folder: Folder, text: str) -> dict[str, Recipe]:
    return load(folder.write(NETWORK + text)).recipes


def recipe(folder: Folder, fields: str) -> Recipe:
    return recipes(folder, f"recipe r {{ {fields} }}")["r"]


def test_an_empty_recipe_has_the_defaults(folder: Folder) -> None:
    assert recipe(folder, "") == Recipe()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("data = cifar10", {"data": DataSet("cifar10")}),
        ("data = cifar10(train=45_000, val=5_000)", {"data": DataSet("cifar10", 45_000, 5_000)}),
        ("data = folder(10)", {"data": DataSet("folder", 10)}),
        ("data = none", {"data": None}),
        ("augment = [pad(4), hflip]", {"augment": (Pad(4), HorizontalFlip())}),
        ("augment = pad(pixels=4)", {"augment": (Pad(4),)}),
        ("augment = []", {"augment": ()}),
        (
            "augment = [hflip(0.25), hflip(p=1)]",
            {"augment": (HorizontalFlip(0.25), HorizontalFlip(1.0))},
        ),
        ("evaluate = [resize_shorter(256)]", {"evaluate": (ResizeShorter((256, 256)),)}),
        ("evaluate = [resize_shorter(256..480)]", {"evaluate": (ResizeShorter((256, 480)),)}),
        ("batch = 64  iterations = 10", {"batch": 64, "iterations": 10}),
        ("epochs = 2", {"epochs": 2}),
        ("batch = 2 ** 6 + 1", {"batch": 65}),
        ("iterations = none", {"iterations": None}),
        ("optimizer = sgd", {"optimizer": Sgd()}),
        (
            'optimizer = sgd(0.2, momentum=0, form="torch", decay_norm=false)',
            {"optimizer": Sgd(0.2, 0.0, form="torch", decay_norm=False)},
        ),
        ("schedule = [step(at=[1, 2])]", {"schedule": (Step(at=(1, 2)),)}),
        ("schedule = step(0.5, [i * 10 for i in 1..3])", {"schedule": (Step(0.5, (10, 20)),)}),
        ("schedule = step(at=10)", {"schedule": (Step(at=(10,)),)}),
        ("schedule = plateau(patience=3)", {"schedule": (Plateau(patience=3),)}),
        (
            "schedule = [warmup(lr=0.01, until=train_error < 80%), plateau]",
            {
                "schedule": (
                    Warmup(0.01, until=Condition("train_error", "<", 0.8)),
                    Plateau(),
                )
            },
        ),
        (
            "schedule = warmup(until=train_error >= 0.5)",
            {"schedule": (Warmup(until=Condition("train_error", ">=", 0.5)),)},
        ),
        ("schedule = warmup(iterations=100)", {"schedule": (Warmup(iterations=100),)}),
        ("schedule = [cosine]", {"schedule": (Cosine(),)}),
        (
            "schedule = [warmup(lr=0.01, epochs=5, ramp=true), cosine(end=1e-6)]",
            {"schedule": (Warmup(0.01, epochs=5.0, ramp=True), Cosine(1e-6))},
        ),
        (
            "augment = [random_resized_crop(8, area=0.5), rand_augment(magnitude=5)]",
            {"augment": (RandomResizedCrop(8, area=0.5), RandAugment(magnitude=5))},
        ),
        ("augment = random_erase(0.1)", {"augment": (RandomErase(0.1),)}),
        ("mix = [mixup, cutmix(0.5)]", {"mix": (Mixup(), Cutmix(0.5))}),
        ("ema = ema(0.99, every=4)", {"ema": Ema(0.99, 4)}),
        ("ema = none  resizing = none", {}),
        ("resizing = progressive(start=0.25)", {"resizing": Progressive(0.25)}),
        ("repeats = 3  label_smoothing = 0.1", {"repeats": 3, "label_smoothing": 0.1}),
        ("norm_sync = true", {"norm_sync": True}),
        ("norm_images = 64  precise_norm = 1_000", {"norm_images": 64, "precise_norm": 1_000}),
        ('init = he_normal(fan="out")', {"init": HeNormal("out")}),
        ('precision = "bf16"', {"precision": "bf16"}),
        ("eval_every = 100", {"eval_every": 100}),
    ],
)
def test_fields(folder: Folder, fields: str, expected: dict[str, object]) -> None:
    assert recipe(folder, fields) == dataclasses.replace(Recipe(), **expected)


def test_every_word_takes_its_record_s_fields(folder: Folder) -> None:
    """Each record is written with all its fields, by name, in the place it belongs."""
    places = {
        "optimizer": [Sgd, AdamW, Lamb],
        "loss": [CrossEntropy, BinaryCrossEntropy],
        "init": [HeNormal],
        "schedule": [Step, Plateau, Warmup, Cosine],
        "mix": [Mixup, Cutmix],
        "resizing": [Progressive],
        "ema": [Ema],
    }
    place_of = {kind: place for place, kinds in places.items() for kind in kinds}
    sample: dict[str, object] = {"size": 24, "pixels": 4, "epochs": 2.0}
    for word, record in WORDS.items():
        arguments = {
            field.name: sample.get(field.name, None if field.default is None else field.default)
            for field in dataclasses.fields(record)
        }
        written = ", ".join(
            f"{name}={show(list(value) if isinstance(value, tuple) else value)}"
            for name, value in arguments.items()
        )
        place = place_of.get(record, "augment")
        made = getattr(recipe(folder, f"{place} = {word}({written})"), place)
        found = made[0] if isinstance(made, tuple) else made
        expected = dict(arguments, size=(24, 24)) if record is ResizeShorter else arguments
        assert found == record(**expected), word


def test_every_data_set_is_a_word(folder: Folder) -> None:
    for name in DATA_SETS:
        assert recipe(folder, f"data = {name}").data == DataSet(name)


def test_variants_override_fields_and_nothing_else(folder: Folder) -> None:
    found = recipes(
        folder,
        """
recipe base { batch = 64  iterations = 1_000  augment = [pad(4)] }
recipe short = base with iterations = 10
recipe shorter = short with batch = 32, augment = []
recipe same = base
""",
    )
    base = Recipe(batch=64, iterations=1_000, augment=(Pad(4),))
    assert found == {
        "base": base,
        "short": dataclasses.replace(base, iterations=10),
        "shorter": dataclasses.replace(base, iterations=10, batch=32, augment=()),
        "same": base,
    }


def test_recipes_of_other_files(folder: Folder) -> None:
    folder.write("recipe base { batch = 7 }\n", "lib.rnet")
    found = recipes(folder, "")
    assert found == {}
    text = "use lib { base }\n" + NETWORK + "recipe r = base with epochs = 3\n"
    assert load(folder.write(text)).recipes == {"r": Recipe(batch=7, epochs=3)}


def test_recipes_see_constants_and_functions(folder: Folder) -> None:
    text = "const B = 32\nfn twice(x: int) -> int = 2 * x\nrecipe r { batch = twice(B) }\n"
    assert recipes(folder, text)["r"].batch == 64


def test_recipe_words_mean_nothing_elsewhere(folder: Folder) -> None:
    assert folder.codes("network n { input 3x8x8  let a = hflip  relu }") == ["E0201"]
    assert folder.codes("const pad = 3\nrecipe r { augment = [pad(4)] }\n") == []


def test_which_recipe_is_a_networks(folder: Folder) -> None:
    two = "recipe a { batch = 1 }\nrecipe b { batch = 2 }\n"
    named = 'network n { input 3x8x8  relu }\nnetwork m = n { meta { recipe = "b" } }\n'
    file = folder.write(named + two)
    first, second = load(f"{file}:n").recipe, load(f"{file}:m").recipe
    assert (first and first.batch, second and second.batch) == (1, 2)
    assert check_file(file).recipes == ("a", "b")
    assert load(folder.write(NETWORK)).recipe is None


def test_the_zoos_recipe_is_the_papers() -> None:
    recipes = load("resnet20").recipes
    assert recipes["cifar"] == he2015_cifar()
    warm = recipes["cifar_warmup"]
    assert warm.schedule[0] == Warmup(0.01, until=Condition("train_error", "<", 0.8))
    assert warm == he2015_cifar_warmup()
    assert dataclasses.replace(warm, schedule=he2015_cifar().schedule) == he2015_cifar()


@given(
    st.floats(1e-6, 10, allow_nan=False),
    st.integers(1, 10**6),
    st.lists(st.integers(1, 10**6), max_size=5).map(sorted),
)
@settings(max_examples=30, deadline=None)
def test_numbers_survive(
    tmp_path_factory: pytest.TempPathFactory, lr: float, batch: int, at: list[int]
) -> None:
    folder = Folder(tmp_path_factory.getbasetemp())
    text = f"optimizer = sgd(lr={lr!r})  batch = {batch}  schedule = [step(at={at})]"
    found = recipe(folder, text)
    assert found.optimizer.lr == lr
    assert found.batch == batch
    assert found.schedule == (Step(at=tuple(at)),)
