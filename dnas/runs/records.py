"""The files of a result folder as strict records: what a search or a training writes, read within bounds.

Keys that a file lacks have the default that says so: another strategy, or an older version, records other things.
`dnas.runs.converted` reads them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Probability = Annotated[float, msgspec.Meta(ge=-1e-3, le=1.001)]
Cost = Annotated[float, msgspec.Meta(ge=0)]
Limit = Annotated[float, msgspec.Meta(gt=0)]
Option = bool | int | float | str


class Row(msgspec.Struct, frozen=True):
    """One line of the history of a search."""

    step: Count
    loss: float | None = None
    accuracy: float | None = None
    theta_loss: float | None = None
    theta_accuracy: float | None = None
    expected: tuple[float, ...] | None = None
    multipliers: tuple[float, ...] | None = None
    entropy: float | None = None
    temperature: float | None = None
    skip_share: float | None = None
    skip_guard: float | None = None
    phase: str | None = None
    probabilities: dict[str, tuple[Probability, ...]] | None = None
    compared: Count | None = None
    """Sampled networks compared so far, and the accuracy of the best of them on the choices' share."""
    best: Share | None = None
    chain: dict[str, Any] = {}
    """The network that a chain came to at this row; empty where it came to none."""
    terms: dict[str, float] = {}
    """Of the loss, without their weights, where there are several."""


class Epoch(msgspec.Struct, frozen=True):
    """One line of the history of a training."""

    step: Count
    epoch: Annotated[float, msgspec.Meta(ge=0)]
    loss: float
    train_accuracy: Share | None = None
    validation_accuracy: Share | None = None
    lr: float | None = None
    terms: dict[str, float] = {}
    """Of the loss, without their weights, where there are several."""


class BudgetResult(msgspec.Struct, frozen=True):
    """A budget and what became of it; costs in multiply-adds, parameters or milliseconds.

    `cost` is None of a search that has not ended.
    """

    budget: str
    limit: Limit
    cost: Cost | None = None
    expected_before: float | None = None
    argmax_cost: float | None = None
    unused_because: str = ""

    @property
    def share(self) -> float | None:
        """How much of it is used."""
        return None if self.cost is None else self.cost / self.limit


class DataUsed(msgspec.Struct, frozen=True):
    """The images of a search or a training."""

    name: str = "not stated"
    sha256: str = ""
    path: str | None = None
    """Where later commands find them by themselves."""


class Proxy(msgspec.Struct, frozen=True):
    """The input at which a search trained and measured."""

    resolution: Positive
    channels: Positive
    classes: Positive


class RandomNetworks(msgspec.Struct, frozen=True):
    """Networks drawn evenly within the budgets: their accuracies on the choices' share of the training images."""

    count: Count
    median: Share
    best: Share


class Raced(msgspec.Struct, frozen=True):
    """A candidate of a race, and what it knew on the choices' share after each round that it was in."""

    origin: str
    costs: tuple[Cost, ...]
    accuracy: tuple[Share, ...]
    won: bool = False


class Race(msgspec.Struct, frozen=True):
    """The race for the network found: `images` of the choices' share told which is better."""

    candidates: tuple[Raced, ...]
    images: Count
    pays: str = ""
    """Whether choosing an architecture pays here, in words."""


class Met(msgspec.Struct, frozen=True):
    """Networks that a search compared, in the order in which it met them; the first `drawn` were drawn evenly."""

    options: tuple[str, ...]
    """Index of the option of each choice, in the order of the choices."""
    accuracy: tuple[Share, ...]
    costs: dict[str, tuple[Cost, ...]]
    """Text of a budget -> the cost of each."""
    drawn: Count


class SearchFacts(msgspec.Struct, frozen=True):
    """The part `search` of an exported architecture."""

    space: str
    strategy: str = "not stated"
    preset: str = "not stated"
    seed: int | None = None
    data: DataUsed = DataUsed()
    proxy: Proxy | None = None
    budgets: tuple[BudgetResult, ...] = ()
    budget_satisfied: bool | None = None
    log_probability: float | None = None
    argmax_log_probability: float | None = None
    gap_nats: float | None = None
    mean_entropy: float | None = None
    compared: Count | None = None
    share_accuracy: Share | None = None
    """On the choices' share of the training images: of the best of the networks compared, or of a member of a family
    its own, where `compared` is None."""
    random_networks: RandomNetworks | None = None
    race: Race | None = None
    met: Met | None = None
    chance: Share | None = None
    """The accuracy of always answering the most frequent class of the test images."""
    inherited_accuracy: dict[str, Share] = {}
    accuracy_split: str = "not stated"
    by_proxy: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    options: dict[str, tuple[Option, ...]] = {}
    """Choice name -> its options, where the result states them."""


class Action(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A step down (or back) of one choice; or, with `solved`, why the solver gave the network."""

    choice: str = ""
    before: Option | None = None
    after: Option | None = None
    solved: str = ""


class ChainStep(msgspec.Struct, frozen=True):
    """A network of a chain: how it differs from the one before, its costs, a budget each, and its accuracy."""

    number: Count
    actions: tuple[Action, ...]
    costs: tuple[Cost, ...]
    shares: tuple[Cost, ...]
    accuracy: Share
    loss: float
    mes: float | None = None
    drop: float | None = None
    file: str = ""


class Chain(msgspec.Struct, frozen=True):
    """chain.json: `budgets` are the texts that `costs` of each step belong to."""

    budgets: tuple[str, ...]
    split: str
    steps: tuple[ChainStep, ...]


class ListMove(msgspec.Struct, frozen=True):
    """What became of a list of choices: steps taken, the options after them, and why not what the rule says."""

    count: int
    options: tuple[float, ...]
    why: str = ""


class ListFacts(msgspec.Struct, frozen=True):
    """A list of choices, rising, of one dimension in one stage: E-T error at each, and the line through them."""

    name: str
    options: tuple[float, ...]
    et_errors: tuple[float | None, ...]
    slope: float
    intercept: float | None = None


class SpaceFacts(msgspec.Struct, frozen=True):
    """A space by networks drawn from it; errors in percentage points."""

    name: str
    et_error: float
    lists: tuple[ListFacts, ...]
    moves: dict[str, ListMove] = {}
    """Of the lists, by name; empty of the last space."""


class SpaceEvolution(msgspec.Struct, frozen=True):
    """space_evolution.json: the spaces of a search, from the one given to the last one."""

    rule: str
    tau: float
    spaces: tuple[SpaceFacts, ...]


class MemberFacts(msgspec.Struct, frozen=True):
    """The part `search` of a network of a family; `cost` is in the unit of its budget, where it is stated."""

    budget: str
    accuracy: Share
    accuracy_split: str = "not stated"
    cost: Cost | None = None


class ImagesUsed(msgspec.Struct, frozen=True):
    """How many images of each split took part."""

    train: Count = 0
    validation: Count = 0
    test: Count = 0


class TrainedAccuracy(msgspec.Struct, frozen=True):
    """`validation` chose the epoch, `test` was read once."""

    validation: Share
    test: Share
    test_top5: Share | None = None


class FoundFacts(msgspec.Struct, frozen=True):
    """What a trained architecture remembers of the search that found it."""

    space: str = "not stated"
    strategy: str = "not stated"
    budgets: tuple[BudgetResult, ...] = ()
    inherited_accuracy: dict[str, Share] = {}
    data: DataUsed | None = None
    blocks: dict[str, str] = {}
    """Path of a block -> its path in the search space."""


class Begun(msgspec.Struct, frozen=True):
    """run.json: the command of a run that has not ended, and what its result depends on."""

    run: str
    identity: dict[str, Any]


class Asked(msgspec.Struct, frozen=True):
    """What the identity of a search says in words."""

    strategy: str = "not stated"
    budgets: tuple[str, ...] = ()
    seed: int | None = None
    settings: dict[str, Any] = {}


class TrainingFacts(msgspec.Struct, frozen=True):
    """The part `training` of an architecture that was trained."""

    accuracy: TrainedAccuracy
    recipe: dict[str, Any] = {}
    start: str = "not stated"
    seed: int | None = None
    steps: Count | None = None
    data: DataUsed = DataUsed()
    chance: Share | None = None
    images: ImagesUsed = ImagesUsed()
    teacher: str | None = None
    best_epoch: float | None = None
    found: FoundFacts | None = None


class ImportedFacts(msgspec.Struct, frozen=True):
    """The part `imported` of an architecture whose weights come from elsewhere."""

    names: str = "not stated"
    """Whose names the file's tensors had: `timm` or `dnas`."""
    model: str = "not stated"
    """Of timm."""
    file: str = "not stated"
    sha256: str = "not stated"
    notes: tuple[str, ...] = ()
