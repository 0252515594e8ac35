"""Each figure verb draws what it was given, shows it once, and leaves nothing open."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from helpers.plots import PALETTE, place_labels, show_history, show_images, show_latent, show_sheet, style

matplotlib.use("Agg")
Y = torch.tensor([3, 3, 3, 7, 7, 7])


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """Collect the figures that `plt.show` would have shown."""
    figures = []
    monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
    with plt.rc_context():
        style()
        yield figures
    assert not plt.get_fignums(), "a figure was left open"


def drawn(axes):
    return [axis for axis in axes if axis.images]


# images


def test_images_stand_in_rows_under_their_captions(shown):
    images = torch.rand(7, 1, 28, 28)
    assert show_images(images, title="seven", captions=range(7), columns=3, row_labels=["a", "b", "c"]) is None
    (figure,) = shown
    assert figure.get_suptitle() == "seven"
    assert len(figure.axes) == 9 and len(drawn(figure.axes)) == 7
    for i, axis in enumerate(drawn(figure.axes)):
        assert np.array_equal(axis.images[0].get_array(), images[i, 0])
        assert axis.get_title("center") == str(i)
        assert axis.images[0].get_clim() == (0, 1)  # never stretched: two figures can be compared


def test_images_are_dark_on_white_unless_told_otherwise(shown):
    show_images(torch.rand(1, 1, 5, 5))
    show_images(torch.rand(1, 1, 5, 5), cmap="RdBu_r")
    assert [figure.axes[0].images[0].get_cmap().name for figure in shown] == ["gray_r", "RdBu_r"]


def test_images_are_clipped_and_need_no_copy_by_the_caller(shown):
    images = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    show_images(images)
    assert float(shown[0].axes[0].images[0].get_array().max()) == 1
    assert float(images.detach().max()) == 3


def test_the_same_picture_is_saved_as_the_same_bytes(tmp_path):
    paths = [tmp_path / "new folder" / name for name in ("one.png", "two.png")]
    for path in paths:
        show_images(torch.linspace(0, 1, 784).view(1, 1, 28, 28), title="ramp", save=path)
    one, two = (path.read_bytes() for path in paths)
    assert one.startswith(b"\x89PNG") and one == two
    assert b"Software" not in one


# a sheet


def test_a_sheet_lays_its_images_row_by_row(shown):
    images = torch.rand(6, 1, 2, 4)
    assert show_sheet(images, columns=3, names=("right", "up")) is None
    (axis,) = shown[0].axes
    sheet = torch.tensor(axis.images[0].get_array())
    assert sheet.shape == (4, 12)
    assert torch.allclose(sheet[2:, 4:8], images[4, 0], atol=0.017)  # second row, second column, in 32 greys
    assert round(axis.get_window_extent().width, 3) % 12 == 0  # whole screen pixels
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("right", "up")


# curves


def test_history_is_drawn_in_one_panel_a_name(shown):
    history = {
        "train_loss": [3, 2, 1],
        "valid_loss": [4, 3, 2],
        "train_accuracy": [0, 0, 1],
        "valid_accuracy": [0, 0, 0],
    }
    assert show_history(history, ("loss", "accuracy"), labels=("nats", "share right")) is None
    (figure,) = shown
    assert [axis.get_ylabel() for axis in figure.axes] == ["nats", "share right"]
    train, valid = figure.axes[0].lines
    assert list(train.get_xdata()) == [1, 2, 3], "epochs are counted from one"
    assert list(train.get_ydata()) == [3, 2, 1] and list(valid.get_ydata()) == [4, 3, 2]


# latent plane


def test_latent_gives_each_digit_its_colour_and_its_numeral(shown):
    y = torch.tensor([3, 3, 7])
    assert show_latent(torch.tensor([[0.0, 0], [2, 2], [5, 1]]), y) is None
    axis = shown[0].axes[0]
    assert [to_hex(colour) for colour in axis.collections[0].get_facecolors()] == [PALETTE[digit] for digit in y]
    assert {text.get_text() for text in axis.texts} == {"3", "7"}


def test_latent_names_its_classes(shown):
    show_latent(torch.tensor([[0.0, 0], [2, 2], [5, 1]]), torch.tensor([1, 1, 2]), classes=("coat", "shirt", "shoe"))
    assert {text.get_text() for text in shown[0].axes[0].texts} == {"shirt", "shoe"}


def test_latent_numerals_do_not_hide_each_other(shown):
    codes = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    show_latent(codes, torch.arange(100) % 10)
    axis = shown[0].axes[0]
    places = torch.tensor(axis.transData.transform([text.get_position() for text in axis.texts])) / 100  # in inches
    assert torch.pdist(places).min() > 0.25 and len(places) == 10


def test_latent_draws_into_an_axis_and_leaves_showing_to_its_owner(shown):
    figure, axis = plt.subplots()
    show_latent(torch.rand(4, 2), torch.arange(4), title="mine", axis=axis)
    assert not shown and axis.collections and axis.get_title("left") == "mine"
    plt.close(figure)


def test_labels_stand_at_the_medians_of_their_digits():
    codes = torch.tensor([[0.0, 0], [1, 1], [9, 2], [5, 5], [6, 6], [7, 9]])
    digits, places = place_labels(codes, Y, room=1.0)
    assert digits == [3, 7]
    assert places.tolist() == [[1, 1], [6, 6]]


def test_labels_too_close_are_pushed_apart_around_their_middle():
    codes = torch.tensor([[0.0, 0]] * 3 + [[0.1, 0]] * 3)
    _, places = place_labels(codes, Y, room=1.0)
    assert torch.allclose(places[1] - places[0], torch.tensor([1.0, 0.0]), atol=0.01)
    assert torch.allclose(places.mean(0), torch.tensor([0.05, 0.0]), atol=1e-5)
