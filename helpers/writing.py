"""Whole numbers in one hand: digits of one style, set on a common base line and spaced by their ink."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.checks import check_classes, check_codes, check_device, check_images
from helpers.models import ConditionalVAE, eval_mode

LONGEST = 64  # digits in a line: one that no page is wide enough for is more likely a mistake
DARK = 0.3  # a pixel at least as dark as this is ink
HEIGHT, BASE = 32, 28  # rows of a line, and the row in which all digits end
MARGIN = 4  # white columns at both ends
BLANK = 10  # what a blank adds to a gap: half the height of a digit
REACH = 2  # rows up and down in which the neighbour's ink is kept away as well


@torch.inference_mode()
def write(
    model: ConditionalVAE, number: int | str, style: Tensor, jitter: float = 0.2, gap: int = 4, seed: int = 0
) -> Tensor:
    """Write a whole number in one hand: return one image in [0, 1], (1, 32, w), on the CPU; dark is ink.

    number: not negative, or a text of digits, which keeps its leading zeros, in groups if there are blanks in it.
    style: (latent_dim,), what the code of a digit in this hand is. Each digit gets its own draw around it, of standard
    deviation `jitter`; one seed gives one image. `gap` is the white between the ink of neighbours, in pixels, where a
    digit is about 20 high.

    Raises ValueError, by name, for what is not a whole number, has no digit or more than 64, for a style of another
    shape or not finite, and for a jitter below 0 or a gap below 1.
    """
    groups = _groups(number)
    if not isinstance(style, Tensor) or style.dim() != 1:
        got = tuple(style.shape) if isinstance(style, Tensor) else repr(style)
        raise ValueError(f"style must be a tensor of shape ({model.latent_dim},), got {got}")
    check_device(model, style=style)
    check_codes("style", style[None], model.latent_dim)
    if not (math.isfinite(jitter) and jitter >= 0):
        raise ValueError(f"jitter must be finite and at least 0, got {jitter}")
    y = torch.tensor([int(digit) for digit in "".join(groups)], device=style.device)
    noise = torch.randn(len(y), model.latent_dim, generator=torch.Generator().manual_seed(seed))
    gaps = [gap + BLANK * (place == 0) for group in groups for place in range(len(group))]
    return set_line(decode_digits(model, style + jitter * noise.to(style), y), gaps)


def _groups(number: int | str) -> list[str]:
    """Return the groups of digits of a number; raise ValueError for what is none."""
    if isinstance(number, bool) or not isinstance(number, int | str):
        raise ValueError(f"number must be a whole number or a text of digits, got {number!r}")
    if isinstance(number, int) and abs(number) >= 10**LONGEST:  # Python refuses to write some thousands of digits
        raise ValueError(f"number must have at most {LONGEST} digits, got {int(math.log10(abs(number))) + 1}")
    groups = str(number).split()
    if not groups:
        raise ValueError(f"number must hold a digit, got {number!r}")
    if strange := sorted(set("".join(groups)) - set("0123456789")):
        raise ValueError(f"number must be digits from 0 to 9 and blanks, got {''.join(strange)!r} in {number!r}")
    if (length := len("".join(groups))) > LONGEST:
        raise ValueError(f"number must have at most {LONGEST} digits, got {length}")
    return groups


@torch.inference_mode()
def decode_digits(model: ConditionalVAE, z: Tensor, y: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the images in [0, 1], (n, 1, 28, 28), of digits y, (n,), in the styles z, (n, latent_dim)."""
    check_device(model, z=z, y=y)
    check_codes("z", z, model.latent_dim)
    check_classes("y", y, model.classes)
    if len(y) != len(z):
        raise ValueError(f"y must name a digit for each of {len(z)} styles, got {len(y)}")
    with eval_mode(model):
        parts = zip(z.split(batch_size), y.split(batch_size), strict=True)
        return torch.cat([model.decode(*part) for part in parts])


def set_line(digits: Tensor, gaps: list[int]) -> Tensor:
    """Set images of digits, (n, 1, 28, 28), side by side on one base line: return (1, 32, w), on the CPU.

    The lowest ink of every digit stands in one row. `gaps` holds the white before each digit, the first excepted: the
    least distance between its ink and the ink before it, in any row and up to two rows apart. So a 4 moves under the
    arm of a 7, ink never touches ink, and where in its box a digit was drawn makes no difference.
    """
    check_images("digits", digits)
    if len(gaps) != len(digits) or min(gaps) < 1:
        raise ValueError(f"gaps must be at least 1 before each of {len(digits)} digits, got {gaps}")
    pixels = digits[:, 0].float().cpu()  # (n, 28, 28)
    inked = (pixels >= DARK).any(2)  # (n, 28)
    if not inked.any(1).all():
        raise ValueError(f"digits must have ink, got none in {[i for i, row in enumerate(inked) if not row.any()]}")
    lowest = 27 - inked.flip(1).int().argmax(1)  # (n,)
    rows = torch.arange(HEIGHT) - BASE + lowest[:, None]  # (n, 32): which of a digit's rows comes here
    on_paper = ((rows >= 0) & (rows < 28))[..., None]
    pixels = on_paper * pixels[torch.arange(len(rows))[:, None], rows.clamp(0, 27)]  # (n, 32, 28)

    column, ink = torch.arange(28.0), pixels >= DARK
    left = column.where(ink, torch.inf).amin(2)  # (n, 32): where the ink of a row begins, and where it ends
    right = column.where(ink, -torch.inf).amax(2)
    right = F.max_pool1d(right[:, None], 2 * REACH + 1, 1, REACH)[:, 0]
    edge, places = torch.full((HEIGHT,), -torch.inf), list[int]()  # edge: of all ink set so far, row by row
    for first, last, gap in zip(left, right, gaps, strict=True):
        place = int((edge - first).amax()) + 1 + gap if places else 0
        places.append(place)
        edge = torch.maximum(edge, last + place)
    shift = MARGIN - min(places)  # so that no box begins left of the paper
    line = torch.zeros(1, HEIGHT, max(places) + shift + 28 + MARGIN)
    for digit, place in zip(pixels, places, strict=True):
        part = line[0, :, place + shift : place + shift + 28]
        torch.maximum(part, digit, out=part)
    used = (line[0] >= DARK).any(0).nonzero()
    return line[:, :, int(used[0]) - MARGIN : int(used[-1]) + 1 + MARGIN].clone()


def measure_hand(images: Tensor) -> Tensor:
    """Return what hands differ in, of images (n, 1, 28, 28) -> (n, 3): slant, width of the stroke, height over width.

    Slant is in columns to the right for a row up, by the covariance of the ink; the stroke's width in pixels, twice the
    ink over the length of its outline, as of a long ribbon; height over width by the standard deviations of the ink
    once the slant is taken out. Raises ValueError for an image without ink.
    """
    check_images("images", images)
    ink = images[:, 0]  # (n, 28, 28)
    total = ink.sum((1, 2))
    if not (total > 0).all():
        raise ValueError(f"images must have ink, got {int((total <= 0).sum())} without")
    place = torch.arange(28.0, device=ink.device)
    share = ink / total[:, None, None]
    down = place[:, None] - (share * place[:, None]).sum((1, 2))[:, None, None]  # (n, 28, 1), from the centre of mass
    right = place - (share * place).sum((1, 2))[:, None, None]  # (n, 1, 28)
    tall, wide, both = ((share * product).sum((1, 2)) for product in (down**2, right**2, down * right))
    padded = F.pad(ink, (1, 1, 1, 1))
    steps = padded[:, 1:, :-1] - padded[:, :-1, :-1], padded[:, :-1, 1:] - padded[:, :-1, :-1]
    outline = torch.hypot(*steps).sum((1, 2))
    upright = (wide - both**2 / tall).clamp(min=1e-3)
    return torch.stack([-both / tall, 2 * total / outline, (tall / upright).sqrt()], 1)
