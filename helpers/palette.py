"""Ten colours, one a digit, the same in every figure and in the explorer."""

# Searched for, not picked by eye: the two closest colours are 0.15 apart in OKLab for full colour vision and 0.09 under
# simulated protanopia, deuteranopia and tritanopia (Machado et al. 2009); for matplotlib's default ten that is 0.11 and
# 0.007. Every one stands out from white and from near-black paper, and digits that look alike (4 and 9, 3 and 8)
# got colours far apart.
PALETTE = (
    "#26bebb",
    "#296f5b",
    "#c05896",
    "#268bd9",
    "#7451b4",
    "#a44800",
    "#7d9122",
    "#b59cfe",
    "#d8a605",
    "#ff7a85",
)
