"""Places, maps and drawings: what the explorer knows, without its widget."""

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import classifier, model, styled, x, y

from helpers.explorer.projections import IdentityProjection, NeighbourProjection, PCAProjection, spread
from helpers.explorer.space import LatentSpace, ellipse, one_thread, prepare, to_host
from helpers.models import VAE, ConditionalVAE


def test_pca_plane_inverts_and_agrees_with_sklearn():
    from sklearn.decomposition import PCA

    codes = torch.randn(300, 6) * torch.tensor([3, 2, 1, 1, 1, 1])
    plane, theirs = PCAProjection(codes), PCA(2).fit(codes)
    assert (plane.transform(codes) - torch.tensor(theirs.transform(codes))).abs().max() < 1e-3
    places = torch.randn(20, 2)
    assert (plane.transform(plane.inverse_transform(places)) - places).abs().max() < 1e-5


def test_neighbour_projection_returns_its_own_codes_and_blends_between():
    codes, places = torch.randn(50, 6), torch.randn(50, 2)
    made = NeighbourProjection(codes, places)
    assert (made.inverse_transform(places) - codes).abs().max() < 1e-3
    between = made.inverse_transform((places[:1] + places[1:2]) / 2)
    assert (between >= codes.amin(0)).all() and (between <= codes.amax(0)).all()


def test_spread_of_a_gaussian_code_is_what_samples_show():
    codes = torch.randn(500, 5)
    plane, mu, var = PCAProjection(codes), torch.zeros(5), torch.rand(5) + 0.1
    samples = plane.transform(mu + torch.randn(200_000, 5, generator=torch.Generator().manual_seed(0)) * var.sqrt())
    assert (samples.T.cov() - spread(plane, mu, var)).abs().max() < 0.02
    assert spread(IdentityProjection(), mu[:2], var[:2]).allclose(var[:2].diag(), atol=1e-6)


def test_ellipse_of_a_covariance():
    assert ellipse(torch.diag(torch.tensor([4.0, 1.0])))[:2] == pytest.approx([2, 1])
    turned = torch.tensor([[2.5, 1.5], [1.5, 2.5]])  # half axes 2 and 1, along the diagonal
    a, b, angle = ellipse(turned)
    assert (a, b, angle % torch.pi) == pytest.approx((2, 1, torch.pi / 4))


def test_far_places_are_off_the_data_and_codes_are_on_it():
    space = LatentSpace(model, x, y, classifier)
    far = torch.tensor([[30.0, 30.0]])
    assert space.predict(far, far).facts[0, 11] == 1
    seen = space.predict(space.codes[:9], space.places[:9])
    assert seen.facts[:, 11].sum() == 0 and seen.nearest.tolist() == list(range(9))


def test_models_without_prior_or_classifier():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.vae = VAE(latent_dim=3)

        def encode(self, x):
            return self.vae.encode(x)[0]

        def decode(self, z):
            return self.vae.decode(z)

    space = LatentSpace(Plain(), x, y)
    facts = space.predict(space.codes[:2], space.places[:2]).facts
    assert facts[:, :10].sum() == 0 and facts[:, 10].isnan().all()
    found = space.read(x[0, 0])
    assert found["ellipse"] is None and found["probs"] is None and len(found["recon"]) == 784


def test_a_place_of_styles_shows_every_digit_and_a_drawing_has_a_style_of_its_own():
    space = LatentSpace(styled, x, y, classifier)
    assert space.shown == 10 and space.codes.equal(styled.encode(x, y)[0])
    seen = space.query([(0.5, -1.0), (1.0, 2.0)])
    styles, digits = torch.tensor([[0.5, -1.0]]).repeat(10, 1), torch.arange(10)
    assert (seen.pixels[0].view(10, 784) == (styled.decode(styles, digits) * 255).round().byte().flatten(1)).all()
    assert seen.pixels.shape == (2, 7840) and seen.facts[:, :10].sum() == 0
    image = prepare(x[7, 0])[None, None]
    read, told = space.read(x[7, 0]), space.read(x[7, 0], 4)
    assert read["label"] == classifier(image).argmax() and told["label"] == 4
    for found in (read, told):
        style = styled.encode(image, torch.tensor([found["label"]]))[0]
        assert found["place"] == pytest.approx(style[0].tolist(), abs=1e-5) and len(found["recon"]) == 7840
    assert LatentSpace(styled, x, y).read(x[7, 0], 4)["place"] == told["place"]  # a reader is not needed then


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="one of ten classes, got 3"):
        LatentSpace(ConditionalVAE(2, (2, 2, 2), 4, classes=3), x, y)
    with pytest.raises(ValueError, match="x must be"):
        LatentSpace(model, x, y[:5])
    with pytest.raises(ValueError, match="places must be"):
        LatentSpace(model, x, y, places=torch.zeros(3, 2))
    with pytest.raises(ValueError, match="finite"):
        LatentSpace(model, x, y, places=torch.full((200, 2), torch.nan))
    with pytest.raises(ValueError, match="classifier must be on cpu, like the model, got meta"):
        LatentSpace(model, x, y, copy.deepcopy(classifier).to("meta"))


@pytest.mark.parametrize("n", [1, 3])
def test_tensors_of_every_kind_come_to_the_host_as_they_are(n):
    kinds = [torch.rand(n, 5) - 0.5, torch.arange(n) - 7, torch.rand(n) > 0.5, torch.rand(n, 2, 3, dtype=torch.float64)]
    kinds += [torch.randint(256, (n, 7), dtype=torch.uint8), torch.rand(3, n).T, torch.full((n, 1), torch.nan)]
    for before, after in zip(kinds, to_host(*kinds)):
        assert after.dtype == before.dtype and after.shape == before.shape
        assert after.isnan().equal(before.isnan()) and after.nan_to_num().equal(before.nan_to_num())


def test_frames_on_many_threads_leave_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    inside, first = threading.Event(), []

    def frame():  # the thread's first operation is in here
        inside.wait()
        with one_thread():
            first.append(torch.get_num_threads())
        first.append(torch.get_num_threads())

    thread = threading.Thread(target=frame)
    thread.start()
    with one_thread():
        inside.set()
        thread.join(0.2)  # it waits for its turn
    thread.join()
    assert first == [1, 2] and torch.get_num_threads() == 2
    torch.set_num_threads(before)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 256), st.integers(1, 256), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0.01, 1)
)
def test_prepared_strokes_fit_the_box_and_are_centred(h, w, top, left, height, width):
    strokes = torch.zeros(h, w)
    i, j = int(top * (h - 1)), int(left * (w - 1))
    strokes[i : i + max(1, int(height * h)), j : j + max(1, int(width * w))] = 1
    image = prepare(strokes)
    rows, columns = image.any(1).nonzero(), image.any(0).nonzero()
    assert image.shape == (28, 28) and image.min() >= 0 and image.max() <= 1
    assert max(rows.max() - rows.min(), columns.max() - columns.min()) + 1 <= 20
    middle = torch.arange(28.0) @ torch.stack([image.sum(1), image.sum(0)], 1) / image.sum()
    assert (middle - 14).abs().max() <= 0.51


def test_prepared_mnist_digits_come_back_as_they_were():
    from helpers.data import load_mnist

    images = load_mnist().test.x[:100]
    same = [prepare(image[0]).sub(image[0]).abs().max() < 0.01 for image in images]
    assert sum(same) >= 90
    assert prepare(torch.zeros(28, 28)) is None
