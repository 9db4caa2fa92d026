# SPDX-License-Identifier: Apache-2.0
import torch

from admn_ros.config import Objective
from admn_ros.model.checkpoint import initialize
from admn_ros.model.value.head import LOGIT_INFORMATION, InputValue, ValueHead
from admn_ros.sample import Modality

RGB, RADAR = Modality.RGB, Modality.RADAR
DEPTHS = {RGB: 3, RADAR: 2}


def head(dim: int = 4) -> ValueHead:
    made = ValueHead(dim, DEPTHS, hidden=16)
    initialize(made, 0)
    return made


def tokens(size: int, dim: int = 4, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 2, dim, generator=generator) for _ in DEPTHS]


def test_absent_inputs_are_worth_nothing_and_change_nothing():
    made, seen = head(), tokens(3)
    present = [torch.tensor([[True, False]] * 3), torch.tensor([[False, False]] * 3)]
    value = made(seen, present)
    assert (value.position > 0).flatten(1).tolist() == [[True, False, False, False]] * 3
    assert (value.classes > 0).flatten(1).tolist() == [[True, False, False, False]] * 3
    other = made([x + 9 * ~p[..., None] for x, p in zip(seen, present, strict=True)], present)
    assert torch.equal(value.position, other.position) and torch.equal(value.classes, other.classes)
    assert value.of_depths(Objective())[RADAR].eq(0).all()


def test_deeper_is_never_worth_less_and_the_whole_backbone_is_worth_everything():
    value = head()(tokens(3), [torch.ones(3, 2, dtype=torch.bool)] * 2)
    for m, depth in DEPTHS.items():
        assert value.share[m].shape == (depth,)
        assert value.share[m].diff().gt(0).all()
        torch.testing.assert_close(value.share[m][-1], torch.ones(()))


def test_the_objective_weighs_position_and_class():
    value = InputValue(torch.tensor([[[120.0, 40.0], [0.0, 20.0]]]), torch.tensor([[[0.5, 0.5], [4.0, 0.0]]]),
                       {RGB: torch.tensor([0.5, 1.0]), RADAR: torch.tensor([1.0])})
    assert LOGIT_INFORMATION == 40.0
    both = value.of_depths(Objective())
    assert both[RGB].tolist() == [[[1.75, 3.5], [0.75, 1.5]]] and both[RADAR].tolist() == [[[4.0], [0.5]]]
    assert value.of_depths(Objective(position=0))[RGB].tolist() == [[[0.25, 0.5], [0.25, 0.5]]]
    assert value.of_depths(Objective(classification=0, position=2))[RADAR].tolist() == [[[0.0], [1.0]]]


def test_more_inputs_and_more_layers_never_raise_the_expected_error():
    made, present = head(), [torch.ones(5, 2, dtype=torch.bool)] * 2
    value = made(tokens(5), present)
    sets = torch.tensor([[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [0, 0]], [[1, 1], [1, 1]]], dtype=torch.bool)
    used = sets.expand(5, -1, -1, -1)
    errors_m, logits = made.expected(value, used, {RGB: 1, RADAR: 1})
    assert errors_m.diff(dim=1).lt(0).all() and logits.diff(dim=1).gt(0).all()
    deeper_m, _ = made.expected(value, used, {RGB: 3, RADAR: 2})
    assert (deeper_m[:, 1:] < errors_m[:, 1:]).all()
    alone, _ = made.expected(value, used[:, 1], {RGB: 1, RADAR: 1})
    torch.testing.assert_close(alone, errors_m[:, 1])


def test_the_head_learns_which_input_is_informative():
    """The first feature of a token says whether its input is damaged; a damaged input has ten times the error."""
    made, generator = ValueHead(4, {RGB: 1, RADAR: 1}, hidden=16), torch.Generator().manual_seed(1)
    initialize(made, 0)
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    present = [torch.ones(64, 1, dtype=torch.bool)] * 2
    for _ in range(150):
        damaged = torch.rand(64, 2, generator=generator) < 0.5
        seen = [torch.cat([damaged[:, i, None, None].float(), torch.randn(64, 1, 3, generator=generator)], 2)
                for i in range(2)]
        which = torch.randint(2, (64,), generator=generator)
        scale_m = torch.where(damaged[torch.arange(64), which], 1.0, 0.1)
        errors_m = scale_m * torch.empty(64).exponential_(generator=generator)
        used = torch.nn.functional.one_hot(which, 2).bool()[:, :, None]
        expected_m, _ = made.expected(made(seen, present), used, {RGB: 1, RADAR: 1})
        loss = (expected_m.log() + errors_m / expected_m).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    value = made(seen, present).of_depths(Objective(classification=0))
    chosen = torch.cat([value[RGB], value[RADAR]], dim=1).flatten(1).argmax(dim=1)
    clear = damaged[:, 0] != damaged[:, 1]
    assert (chosen[clear] == (~damaged[clear]).float().argmax(dim=1)).float().mean() > 0.95
