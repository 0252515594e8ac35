"""The networks as the page runs them, in Node: every pixel and probability against torch."""

import json
import shutil
import subprocess
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.checkpoints import load
from helpers.data import load_mnist
from helpers.explorer.space import prepare
from helpers.explorer.static import HERE
from helpers.explorer.steps import Unknown
from helpers.explorer.weights import CLOSE, pack
from helpers.latent import encode
from helpers.models import CAE, CNN, VAE, ConditionalVAE, ConvVAE, DeepCAE, Judge, eval_mode

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="Node is not installed; the browser tests compare the saved page")


def node(folder, code):
    """Run a module's code in a folder, with js/ of the explorer at hand as `js`; return what it prints, from JSON."""
    code = f"const js = (name) => import(`{(HERE / 'js').as_uri()}/${{name}}.js`);\n{code}"
    run = [NODE, "--input-type=module", "--eval", code]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RUN = """
import { readFileSync, writeFileSync } from "node:fs";
const { createNet, inflate } = await js("net");
const view = (name) => ((bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length))(readFileSync(name));
const net = createNet(await inflate(view("net")));
const { buffer, byteOffset, byteLength } = view("inputs");
const inputs = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
const sizes = SIZES, results = [], times = [];
for (let at = 0; at < inputs.length; ) {
    const given = sizes.map((size) => inputs.subarray(at, (at += size)));
    const start = performance.now();
    const made = net(...given);
    times.push(performance.now() - start);
    results.push(made.flatMap((values) => [...values]));
}
writeFileSync("results", Buffer.from(Float32Array.from(results.flat()).buffer));
console.log(JSON.stringify(Math.min(...times)));
"""


def compute(folder, packed, *inputs):
    """Return what the page makes of inputs, each (n, ...): the results of a row, flat, and the shortest time in ms."""
    rows = [each.float().reshape(len(each), -1) for each in inputs]
    (folder / "net").write_bytes(packed)
    (folder / "inputs").write_bytes(torch.cat(rows, 1).numpy().tobytes())
    time = node(folder, RUN.replace("SIZES", str([each.shape[1] for each in rows])))
    made = torch.frombuffer(bytearray((folder / "results").read_bytes()), dtype=torch.float32)
    return made.view(len(rows[0]), -1), time


def expected(model, method, *inputs):
    with torch.inference_mode(), eval_mode(model):
        made = getattr(model, method)(*inputs)
    return torch.cat([part.flatten(1) for part in (made if isinstance(made, tuple) else (made,))], 1)


SHIPPED = {"vae": VAE, "vae20": VAE, "vae_without_0": VAE, "vae_textbook": VAE, "conv_vae": ConvVAE}
SHIPPED |= {"cae": CAE, "cae_deep": DeepCAE}
READERS = {"cnn_classifier": CNN, "cnn12": CNN, "judge": Judge}


@needs_node
@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_no_pixel_of_a_shipped_decoder_is_off_by_more_than_one(name, tmp_path):
    model, _ = load(name, SHIPPED[name])
    x = load_mnist().train.x[:1000]
    codes = encode(model, x)
    generator = torch.Generator().manual_seed(0)
    low, high = codes.amin(0), codes.amax(0)
    places, others = (low + (high - low) * torch.rand(2, 1000, model.latent_dim, generator=generator)).unbind()
    tried = torch.cat([codes, others[:256]]) if model.latent_dim == 2 else codes
    if model.latent_dim > 2:
        places = codes[torch.randperm(1000, generator=generator)].lerp(codes, 0.5)  # half-way between two digits
    made, time = compute(tmp_path, pack(model, "decode", tried), places)
    levels = [(images * 255).round() for images in (made, expected(model, "decode", places))]
    assert (levels[0] - levels[1]).abs().max() <= 1 and time < 30
    made, _ = compute(tmp_path, pack(model, "encode", x[:256]), x)
    exact = expected(model, "encode", x)
    assert (made - exact).abs().max() <= 0.004 * exact.abs().max()


@needs_node
@pytest.mark.slow
def test_no_pixel_of_the_shipped_hand_is_off_by_more_than_one(tmp_path):
    model, _ = load("conditional_vae2", ConditionalVAE)
    train = load_mnist().train
    x, y = train.x[:1000], train.y[:1000]
    with torch.inference_mode():
        styles, told = model.encode(x, y)[0], torch.arange(1000) % 10
    places = 2 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    tried = torch.cat([styles, places.flip(0)[:256]])
    packed = pack(model, "decode", tried, torch.arange(len(tried)) % 10)
    made, time = compute(tmp_path, packed, places, told)
    levels = [(images * 255).round() for images in (made, expected(model, "decode", places, told))]
    assert (levels[0] - levels[1]).abs().max() <= 1 and time < 10
    made, _ = compute(tmp_path, pack(model, "encode", x[:256], y[:256]), x, y)
    exact = expected(model, "encode", x, y)
    assert (made - exact).abs().max() <= 0.004 * exact.abs().max()


@needs_node
@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_probabilities_of_a_shipped_classifier_are_within_two_in_a_thousand(name, tmp_path):
    model, _ = load(name, READERS[name])
    x = load_mnist().test.x[:1000]
    made, _ = compute(tmp_path, pack(model, "forward", load_mnist().train.x[:256]), x)
    assert (made.softmax(1) - expected(model, "forward", x).softmax(1)).abs().max() <= 0.002


class Odd(nn.Module):
    """Every layer and function that a page knows, used as no model of ours does."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 6, (3, 5), (2, 1), (0, 2)), nn.BatchNorm2d(6), nn.GELU(), nn.AvgPool2d((1, 2))
        )
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.LeakyReLU(0.2), nn.Dropout(0.5))
        self.third = nn.Sequential(
            nn.ConvTranspose2d(6, 5, (2, 3), (1, 2), (1, 0), bias=False), nn.BatchNorm2d(5), nn.MaxPool2d((2, 3), 1)
        )
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Sequential(nn.Linear(5 + 4, 400), nn.BatchNorm1d(400), nn.SiLU(), nn.Linear(400, 30))
        self.shape = nn.Sequential(nn.Identity(), nn.Unflatten(1, (30, 1, 1)), nn.Flatten())

    def forward(self, x, y):
        y = F.one_hot(y, 4).to(x)
        x = self.first(2 - 3 * x / 4)
        x = F.relu(x + self.second(x)).tanh()
        x = 1 + self.third(x) - 0.5
        h = self.last(torch.cat([self.mean(x).flatten(1), y], 1))
        return torch.clamp(self.shape(h), max=0.1), x.flatten(1).sigmoid()


@needs_node
def test_every_step_that_a_page_knows_is_torchs(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = Odd()
    model(torch.rand(64, 1, 28, 28), torch.arange(64) % 4)  # batch norms see some images
    model.eval()
    monkeypatch.setitem(CLOSE, "forward", lambda a, b: True)
    x, y = torch.rand(5, 1, 28, 28), torch.tensor([3, 0, 1, 2, 3])
    made, _ = compute(tmp_path, pack(model, "forward", x, y), x, y)
    exact = expected(model, "forward", x, y)
    assert made.shape == exact.shape and (made - exact).abs().max() < 2e-3 and exact.std() > 0.05


def broken(**parts):
    """Return an untrained VAE with other parts."""
    model = VAE().eval()
    for name, part in parts.items():
        setattr(model, name, part)
    return model


class Chooses(VAE):
    def decode(self, z):
        return super().decode(z if z.sum() > 0 else -z)


class Second(VAE):
    def decode(self, z, y=None):
        return super().decode(z * self.mu.weight[:, 0])


class Stacks(VAE):
    def decode(self, z):
        return super().decode(torch.cat([z, z]))


hooked = VAE().eval()
hooked.decoder[0].register_forward_hook(lambda module, inputs, output: output + 1)
wide = nn.Sequential(nn.Linear(2, 3000), nn.Linear(3000, 3000), nn.Linear(3000, 784))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (broken(decoder=nn.Sequential(nn.Linear(2, 784), nn.PReLU())), "PReLU"),
        (broken(decoder=nn.Sequential(nn.Linear(2, 784), nn.Softmax(1))), "Softmax"),
        (broken(decoder=nn.Sequential(nn.Linear(2, 784), nn.GELU("tanh"))), "GELU"),
        (
            broken(decoder=nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 784)).eval()),
            "BatchNorm1d that follows no layer",
        ),
        (
            broken(decoder=nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 784, 1, groups=2))),
            "Conv2d with groups",
        ),
        (broken(decoder=wide), "weights in decode, more than"),
        (hooked, "Linear with a hook"),
        (Chooses().eval(), "Chooses.decode, whose way depends on its input"),
        (Second().eval(), "decode of another input, y"),
        (Stacks().eval(), "cat along dimension 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_page_cannot_run_is_named(model, says):
    with pytest.raises(Unknown, match=says):
        pack(model, "decode", torch.randn(4, 2))


@needs_node
def test_damaged_weights_are_refused(tmp_path):
    packed = bytearray(pack(VAE().eval(), "decode", torch.randn(4, 2)))
    packed[len(packed) // 2] ^= 4
    with pytest.raises(AssertionError):
        compute(tmp_path, packed, torch.randn(1, 2))
    with pytest.raises(AssertionError):
        compute(tmp_path, packed[:1000], torch.randn(1, 2))


# A drawing


def strokes(seed):
    """Return what a hand may have drawn on the pad, (112, 112): a few round dots along a line, of some darkness."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(2 + seed % 3, 2, generator=generator) * 112
    steps = torch.linspace(0, 1, 40)[:, None]
    dots = torch.cat([a.lerp(b, steps) for a, b in pairwise(ends)])
    pixels = torch.cartesian_prod(torch.arange(112.0), torch.arange(112.0))
    reach = 2 + 5 * torch.rand(1, generator=generator)
    return (reach + 0.5 - torch.cdist(pixels, dots).amin(1)).clamp(0, 1).mul(255).round().view(112, 112) / 255


@needs_node
def test_a_drawing_is_prepared_as_python_does(tmp_path):
    drawings = [strokes(seed) for seed in range(60)]
    # Upright, lying, in the very middle of two pixels, and as small as can be
    for i, j, h, w in (
        (0, 0, 112, 112),
        (10, 50, 90, 9),
        (50, 10, 9, 91),
        (3, 3, 1, 1),
        (20, 20, 50, 35),
        (0, 1, 112, 111),
    ):
        drawings.append(F.pad(torch.ones(h, w), (j, 112 - j - w, i, 112 - i - h)))
    (tmp_path / "drawings").write_bytes((torch.stack(drawings) * 255).round().byte().numpy().tobytes())
    found = node(
        tmp_path,
        """
        import { readFileSync } from "node:fs";
        const { prepare } = await js("prepare");
        const all = Float32Array.from(readFileSync("drawings"), (value) => value / 255);
        const each = Array.from({ length: all.length / 12544 }, (_, k) => all.subarray(k * 12544, (k + 1) * 12544));
        const made = each.map((drawing) => [...prepare(drawing, 112)]);
        console.log(JSON.stringify([prepare(new Float32Array(9), 3), ...made]));
        """,
    )
    assert found[0] is None
    exact = torch.stack([prepare(drawing).flatten() for drawing in drawings])
    assert (torch.tensor(found[1:]) - exact).abs().max() < 1e-5
