"""Some layers train: the last few, or a stretch of them; every other weight stays as it is."""

from tunelang.recipe.schema import Field, WeightsKind, Whole

FIELDS = {
    "last": Field(Whole(), "how many of the last layers train", optional=True),
    "from": Field(Whole(least=0), "the first layer that trains; they count from 0", optional=True),
    "to": Field(Whole(least=0), "the last layer that trains, itself included", optional=True),
}

WEIGHTS = WeightsKind("layers", "some layers train, whole", FIELDS, like="full")
